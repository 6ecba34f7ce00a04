"""Temporary arrays on disk, of which the operating system keeps in memory what fits."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError

Array = npt.NDArray[Any]


def scratch_array(n: int, d: int) -> Array:
    """An array (n, d) float32 in an unnamed file in the folder for temporary files.

    The disk space is freed with the array, however the process ends. Raises MegastyleError if there
    is too little.
    """
    if n * d == 0:
        return np.empty((n, d), np.float32)
    with tempfile.TemporaryFile(prefix="megastyle-") as file:
        reserve_space(file.fileno(), Path(tempfile.gettempdir()), n, d)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(n, d)))


def reserve_space(file: int, folder: Path, n: int, d: int) -> None:
    """Makes an open file in `folder` large enough for vectors (n, d) float32.

    The space is allocated now: later, writing to a page without space would kill the process.
    Raises MegastyleError, with exit code 1, if there is too little.
    """
    size = max(4 * n * d, os.fstat(file).st_size)  # the latter of a .npy file with its header
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)
        else:
            os.ftruncate(file, size)
    except OSError as fault:
        raise MegastyleError(
            f"{folder} has no room for {n:,} vectors of {d} numbers, {size / 1e9:.1f} GB:"
            f" {fault.strerror}",
            hint="set TMPDIR to a folder on a larger disk",
            exit_code=UNEXPECTED,
        ) from fault
