"""Functions over flat arrays, compiled once for this machine and kept beside their source."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """`module` cannot be imported inside, if it was not before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own mark for that
    try:
        yield
    finally:
        del sys.modules[module]


# numba looks here for the linear algebra that compiled functions may call; none of ours does, and
# to load scipy's takes longer than to load all of ours
with _hidden("scipy.linalg.cython_blas"):
    import numba.np.arraymath


def compiled(function: F) -> F:
    """`function` as machine code that runs without Python's lock.

    Compiled code is kept in __pycache__ or in the user's cache folder; where neither can be
    written, it is compiled again in every process.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))
