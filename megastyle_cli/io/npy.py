"""Vectors in .npy files: read through a memory map, written block by block and atomically."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream, require_regular
from megastyle_cli.io.temporary_files import reserve_space
from megastyle_cli.io.writers.stream import Stream

Array = npt.NDArray[Any]


def check_vector_options(written: Path | None, given: Path | None) -> None:
    """Raises MegastyleError if vectors would be both read and written, or not to a .npy file."""
    if written is not None and given is not None:
        raise MegastyleError(
            f"--vectors-from {given} and --vectors {written} are both given",
            hint="give one of them",
        )
    if written is not None and written.suffix != ".npy" and not is_stream(written):
        raise MegastyleError(f"{written} does not end in .npy", hint="rename it")


class MappedVectors:
    """The rows (n, d) of a .npy file of any float type; pickled as its path.

    Raises MegastyleError if the file holds anything else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            require_regular(path)
            # an array of objects would be a pickle
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError, TokenError) as error:  # a header is read as Python
            raise MegastyleError(
                f"{path} is not a .npy file: {error}", hint="create it again"
            ) from None
        except OSError as error:
            raise MegastyleError(f"{path}: {error.strerror}", hint="check the path") from None
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
            is_array = isinstance(rows, np.ndarray)
            content = f"{rows.dtype} of shape {rows.shape}" if is_array else "npz"
            raise MegastyleError(
                f"{path} holds {content}, not rows of floats",
                hint="give a 2-D array of float32 or float16",
            )
        self._rows = rows.view(np.ndarray)
        self.shape: tuple[int, ...] = rows.shape

    def __getitem__(self, rows: Any) -> Array:
        selected: Array = self._rows[rows]
        return selected

    @property
    def fingerprint(self) -> str:
        """8 hex digits over the shape, the type and about 1,000 rows, to identify a run."""
        sample = np.ascontiguousarray(self._rows[:: max(1, self.shape[0] // 1000)])
        header = f"{self.shape}{self._rows.dtype}".encode()
        return hashlib.sha256(header + sample.tobytes()).hexdigest()[:8]

    def __reduce__(self) -> tuple[type["MappedVectors"], tuple[Path]]:
        return (MappedVectors, (self.path,))


class VectorWriter:
    """Vectors written once: to `path`, or without it to a temporary file deleted at the end.

    The temporary file is made in `scratch`, or in the system's folder for such files.
    """

    def __init__(self, path: Path | None, scratch: Path | None = None) -> None:
        self.path, self.scratch = path, scratch
        self._temporary: Path | None = None

    def __enter__(self) -> "VectorWriter":
        return self

    def write(self, count: int, blocks: Iterable[Array]) -> MappedVectors:
        """Writes `count` rows, in `blocks` (m, d) float32, and maps them into memory.

        Raises MegastyleError if the disk has too little space.
        """
        path = self.path or self._new_file()
        mapped: Any = None
        start = 0
        for block in blocks:
            if mapped is None:
                mapped = np.lib.format.open_memmap(
                    path, mode="w+", dtype=np.float32, shape=(count, block.shape[1])
                )
                with path.open("r+b") as file:
                    reserve_space(file.fileno(), path.parent, count, block.shape[1])
            mapped[start : start + len(block)] = block
            start += len(block)
        assert start == count
        if mapped is None:
            with path.open("wb") as file:
                np.save(file, np.zeros((0, 1), np.float32))
        else:
            mapped.flush()
        return MappedVectors(path)

    def copy_to(self, output: Stream) -> None:
        """Writes the file, as it is on disk, to a stream."""
        with (self.path or self._temporary or Path(os.devnull)).open("rb") as file:
            while block := file.read(1 << 20):
                output.write(block)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def _new_file(self) -> Path:
        handle, name = tempfile.mkstemp(".npy", "megastyle-", self.scratch)
        os.close(handle)
        self._temporary = Path(name)
        return self._temporary
