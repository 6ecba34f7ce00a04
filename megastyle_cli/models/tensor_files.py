"""Tensors to and from files: .safetensors, and torch's .pth without the code a pickle may carry."""

import json
import logging
import os
import re
import struct
import sys
from collections import Counter
from errno import EINVAL
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.serialization import safe_globals

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import check_no_lfs_pointer, download_again

Weights = dict[str, Tensor]
log = logging.getLogger(__name__)

# Settings that training scripts save beside the tensors, CSD's its `args`.
SETTINGS = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",  # Python 3.13
    "pathlib._local.WindowsPath",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
)
# What transformers loads from a folder: this file, or the parts that its index names.
MAIN_FILE, MAIN_INDEX = "model.safetensors", "model.safetensors.index.json"

# What torch.compile and DistributedDataParallel put before or inside the names of tensors.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")
_OS_ERROR = re.compile(r"os error (\d+)")


def read_weights(path: Path) -> dict[str, Any]:
    """The content of a file of weights: tensors by name, or a dict around them.

    Code inside a pickle is never run: beside tensors and plain values only SETTINGS are accepted,
    whose values are dropped. Raises MegastyleError if the file is damaged or holds anything else.
    """
    check_no_lfs_pointer(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals([(_Settings, name) for name in SETTINGS]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes can raise any exception
        # EINVAL is not a disk error: torch seeks before the start of a truncated archive.
        if isinstance(error, OSError) and error.errno != EINVAL:
            raise
        if path.suffix == ".safetensors":
            raise damaged(path) from error
        raise MegastyleError(
            f"{path} is damaged, or holds more than weights (nothing in it was executed)",
            hint="give weights as .safetensors, or as a .pth of tensors only",
        ) from error
    if not isinstance(content, dict):
        raise MegastyleError(f"{path} holds a {type(content).__name__}", hint="give a state dict")
    return content


def damaged(path: Path) -> MegastyleError:
    """The error for a file of weights that is cut off or overwritten."""
    return MegastyleError(f"{path} is damaged", hint=download_again(path))


def find_damaged(folder: Path) -> Path | None:
    """The first .safetensors file of a folder whose header does not fit its size, if any."""
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError):
            return file
    return None


class _Settings:
    """Stands for any object of SETTINGS: it accepts any values and keeps none of them."""

    def __new__(cls, *values: Any) -> "_Settings":
        return object.__new__(cls)

    def __init__(self, *values: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_folder_weights(folder: Path) -> Weights:
    """All tensors of the `weight_files` of a folder, as `unwrapped`.

    Raises MegastyleError if it has none, or one tensor twice.
    """
    read = (read_weights(file) for file in weight_files(folder))
    return unwrapped({name: w for weights in read for name, w in weights.items()}, folder)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder, as transformers would choose them.

    Beside model.safetensors, or the parts that its index names, there may be the same weights in
    another layout, such as open_clip_model.safetensors. In a folder without both every .safetensors
    counts. Raises MegastyleError if it has none, or if a part is missing.
    """
    files = sorted(folder.glob("*.safetensors"))
    if (folder / MAIN_FILE).is_file():
        return [folder / MAIN_FILE]
    if (folder / MAIN_INDEX).is_file():
        return _indexed_files(folder / MAIN_INDEX)
    if not files:
        raise MegastyleError(
            f"{folder} has no .safetensors file",
            hint="give a folder with weights, or a config .json",
        )
    return files


def _indexed_files(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        files = [index.parent / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MegastyleError(
            f"{index} does not say which files hold the weights", hint=download_again(index)
        ) from error
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise MegastyleError(
            f"{index.parent} has {len(files) - len(missing)} of {len(files)} files of weights: it"
            f" lacks {missing[0]}",
            hint=download_again(index.parent, is_partial=True),
        )
    return files


def unwrapped(content: dict[str, Any], origin: object, prefix: str = "") -> Weights:
    """The tensors without the prefixes `module.` and `_orig_mod.`, and then without `prefix`.

    Raises MegastyleError if two tensors then have one name, since either could be the right one.
    """
    names = [_WRAPPERS.sub("", str(name)).removeprefix(prefix) for name in content]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise MegastyleError(
            f"{origin} holds {len(twice)} of {len(set(names))} tensors twice, with and without a"
            f" prefix, such as {twice[0]}",
            hint="give weights that hold each tensor once",
        )
    return dict(zip(names, content.values(), strict=True))


def drop_unused(weights: Weights, used: tuple[str, ...], origin: object) -> Weights:
    """The tensors whose names begin with one of `used`; logs how many others there are.

    The position ids of older models belong to no tensor of today's, and are dropped silently.
    """
    kept = {name: w for name, w in weights.items() if name.startswith(used)}
    kept = {name: w for name, w in kept.items() if not name.endswith(".position_ids")}
    others = [name for name in weights if not name.startswith(used)]
    if others:
        log.warning(
            "%s holds %s beside the weights, which %s not used: %s",
            origin,
            f"{len(others)} more tensors" if len(others) > 1 else "one more tensor",
            "are" if len(others) > 1 else "is",
            ", ".join(others[:3]) + (", ..." if len(others) > 3 else ""),
        )
    return kept


def check_finite(weights: Weights, origin: object) -> None:
    """Raises MegastyleError that names a tensor of `weights` that holds NaN or infinite values."""
    for name, w in weights.items():
        if not torch.isfinite(w.float() if w.dtype.itemsize == 1 else w).all():
            raise MegastyleError(
                f"{origin} holds NaN or infinite values in {name}",
                hint="download the weights again, or give a checkpoint from before they diverged",
            )


def write_safetensors(weights: Weights, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes `weights` to `path`, with `metadata` in its header and the permissions of a new file.

    Equal weights and metadata give equal bytes. Raises OSError where the file cannot be written,
    in place of safetensors' own error.
    """
    try:
        save_file(weights, path, metadata=metadata)
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(path)) from error
    if metadata:
        _sort_metadata(path)
    apply_umask(path)


def write_torch(content: dict[str, Any], path: Path) -> None:
    """Like `torch.save`, but equal content gives equal bytes, and a full disk raises OSError."""
    with path.open("wb") as file:
        writer = _Writer(file)
        torch.save(_unshared(content), cast(BinaryIO, writer))
    if writer.error:
        raise writer.error


class _Writer:
    """Writes for torch, and keeps the first error: one raised to C++ could abort the process."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: BaseException | None = None

    def write(self, some: bytes | memoryview) -> int:
        if self.error is None:
            try:
                self._file.write(some)
            except BaseException as error:  # a full disk, a signal
                self.error = error
        return len(some)

    def flush(self) -> None:
        pass  # closing the file does


def _sort_metadata(path: Path) -> None:
    """Sorts the metadata in the header of a file, which safetensors writes in a random order."""
    with path.open("r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False)
        file.seek(8)
        file.write(text.encode().ljust(size))


def _unshared(content: Any) -> Any:
    """`content` with equal strings shared and nothing else, whose sharing a pickle would record.

    Values that were read from a checkpoint share less than those they were written from.
    """
    if isinstance(content, dict):
        return {_unshared(key): _unshared(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(map(_unshared, content))
    return sys.intern(content) if isinstance(content, str) else content


def apply_umask(path: Path) -> None:
    """Gives a file the permissions of any new file beside it: safetensors leaves 0600."""
    new = path.with_name(f".{path.name}.tmp")
    new.unlink(missing_ok=True)
    new.touch(exist_ok=False)  # never what a link there points to
    try:
        path.chmod(new.stat().st_mode)
    finally:
        new.unlink()
