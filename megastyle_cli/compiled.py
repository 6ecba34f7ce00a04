"""Functions over flat arrays, compiled once for this machine and kept beside their source."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """`function` as machine code that runs without Python's lock.

    Compiled code is kept in __pycache__ or in the user's cache folder; where neither can be
    written, it is compiled again in every process.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))
