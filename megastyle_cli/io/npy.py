"""Vectors on disk: a .npy file read through a memory map, written block by block or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.atomic_file import move_into_place, partial_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.scratch_array import reserve_space

Array = npt.NDArray[Any]


def check_vector_options(written: Path | None, given: Path | None) -> None:
    """Raises MegastyleError if vectors would be both written and given, or not called .npy."""
    if written is not None and given is not None:
        raise MegastyleError(
            f"vectors are given by {given} and would be written to {written}",
            hint="give --vectors or --vectors-from",
        )
    if written is not None and written.suffix != ".npy":
        raise MegastyleError(f"{written} does not end in .npy", hint="rename it")


class MappedVectors:
    """The rows (n, d) of a .npy file, of any float type; a pickle of it is its path.

    Raises MegastyleError if the file holds no such rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # never a pickle: an array of objects is refused
            rows = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise MegastyleError(f"{path} is no .npy file: {error}", hint="make it again") from None
        except OSError as error:
            raise MegastyleError(f"{path}: {error.strerror}", hint="check the path") from None
        if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f":
            told = f"{rows.dtype} of shape {rows.shape}" if isinstance(rows, np.ndarray) else "npz"
            raise MegastyleError(
                f"{path} holds {told}, not rows of floats", hint="give (n, d) float32 or float16"
            )
        self._rows = rows.view(np.ndarray)
        self.shape: tuple[int, ...] = rows.shape

    def __getitem__(self, rows: Any) -> Array:
        taken: Array = self._rows[rows]
        return taken

    @property
    def fingerprint(self) -> str:
        """8 hex digits over the shape, the type and some 1,000 rows: what a run may be told by."""
        some = self._rows[:: max(1, self.shape[0] // 1000)]
        told = f"{self.shape}{self._rows.dtype}".encode() + np.ascontiguousarray(some).tobytes()
        return hashlib.sha256(told).hexdigest()[:8]

    def __reduce__(self) -> tuple[type["MappedVectors"], tuple[Path]]:
        return (MappedVectors, (self.path,))


class VectorWriter:
    """Vectors written once: under `final` when kept, else in a scratch file that goes with us.

    That lies in the folder `scratch`, or in the one for temporary files.
    """

    def __init__(self, final: Path | None, scratch: Path | None = None) -> None:
        self.final = final
        self.scratch = scratch
        self._unfinished: Path | None = None

    def __enter__(self) -> "VectorWriter":
        return self

    def write(self, count: int, blocks: Iterable[Array]) -> MappedVectors:
        """All `count` rows of `blocks` (m, d) float32, on disk and mapped.

        Raises MegastyleError if the disk has no room for them.
        """
        self._unfinished = self._place()
        mapped: Any = None
        start = 0
        for block in blocks:
            if mapped is None:
                mapped = np.lib.format.open_memmap(
                    self._unfinished, mode="w+", dtype=np.float32, shape=(count, block.shape[1])
                )
                with self._unfinished.open("r+b") as file:
                    reserve_space(file.fileno(), self._unfinished.parent, count, block.shape[1])
            mapped[start : start + len(block)] = block
            start += len(block)
        assert start == count
        if mapped is None:
            np.save(self._unfinished.open("wb"), np.zeros((0, 1), np.float32))
        else:
            mapped.flush()
        return MappedVectors(self._unfinished)

    def commit(self) -> None:
        """Gives what was written its final name."""
        if self.final is not None and self._unfinished is not None:
            move_into_place(self._unfinished, self.final, durable=True)
            self._unfinished = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)

    def _place(self) -> Path:
        if self.final is not None:
            return partial_path(self.final)
        handle, name = tempfile.mkstemp(".npy", "megastyle-", self.scratch)
        os.close(handle)
        return Path(name)
