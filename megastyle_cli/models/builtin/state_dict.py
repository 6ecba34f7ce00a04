"""A state dict that torch 1.5 or older wrote, as numpy arrays: read without torch.

Importing torch takes many times as long as reading the file. The file is a sequence of pickles: a
magic number, a version, facts about the machine, the tensors, each with the key of its storage,
and the keys in the order of the storages, which follow.
Source: `torch.serialization`, the format before zip archives.
"""

import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from megastyle_cli.core.errors import MegastyleError

Array = np.ndarray[Any, np.dtype[Any]]

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    key: str
    dtype: "np.dtype[Any]"


class _Tensor(NamedTuple):
    storage: _Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Array]:
    """The arrays of a file by name: those whose name starts with one of `prefixes`.

    Code inside a pickle is never run. Raises MegastyleError if the file is not of this format, or
    holds anything but tensors of float32 and int64.
    """
    try:
        with path.open("rb") as file:
            if _Unpickler(file).load() != _MAGIC:
                raise ValueError("another magic number")
            _version, _machine, tensors, keys = (_Unpickler(file).load() for _ in range(4))
            dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
            wanted = {name: each for name, each in tensors.items() if name.startswith(prefixes)}
            read = {tensor.storage.key for tensor in wanted.values()}
            storages = {key: _next_storage(file, dtypes[key], key in read) for key in keys}
        return {name: _array(storages[each.storage.key], each) for name, each in wanted.items()}
    except OSError:
        raise
    except Exception as error:  # unpickling damaged bytes can raise any exception
        raise MegastyleError(
            f"{path} is damaged, or no state dict of torch 1.5 (nothing in it was executed)",
            hint="install the package that it is part of again",
        ) from error


class _Unpickler(pickle.Unpickler):
    """Makes _Tensor and containers, and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of torch. Raises UnpicklingError for all others."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        """The storage that a tensor names by its type and key."""
        kind, dtype, key, _location, _size, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError("not a storage")
        return _Storage(key, dtype)


def _tensor(
    storage: _Storage, start: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, start, shape, strides)


def _next_storage(file: BinaryIO, dtype: "np.dtype[Any]", is_read: bool) -> Array:
    (size,) = np.frombuffer(file.read(8), "<i8")
    if not is_read:
        file.seek(int(size) * dtype.itemsize, os.SEEK_CUR)
        return np.empty(0, dtype)
    values = np.empty(size, dtype)
    if file.readinto(values.data) != values.nbytes:  # type: ignore[attr-defined]
        raise ValueError("the file is cut off")
    return values


def _array(storage: Array, tensor: _Tensor) -> Array:
    steps = [(size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)]
    if min((tensor.start, *steps)) < 0 or tensor.start + sum(steps) >= storage.size:
        raise ValueError("a tensor does not lie within its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return as_strided(storage[tensor.start :], tensor.shape, strides)
