"""Room for vectors on disk: the system keeps in memory what it has room for."""

import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.errors import MegastyleError

Array = npt.NDArray[Any]


def room_on_disk(n: int, d: int) -> Array:
    """(n, d) float32, a file without a name in the folder for temporary files.

    The disk space is taken now, not when a page without room would end the process. It is given
    back with the array, however the process ends. Raises MegastyleError if there is too little.
    """
    size = 4 * n * d
    if size == 0:
        return np.empty((n, d), np.float32)
    with tempfile.TemporaryFile(prefix="megastyle-") as file:
        try:
            _reserve(file.fileno(), size)
        except OSError as fault:
            raise MegastyleError(
                f"{tempfile.gettempdir()} has no room for {n:,} vectors of {d} numbers,"
                f" {size / 1e9:.1f} GB: {fault.strerror}",
                hint="set TMPDIR to a folder on a larger disk",
            ) from fault
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(n, d)))


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)
