"""Just-in-time compilation: numba functions over flat arrays, cached between processes."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., object])


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Inside, `module` cannot be imported unless it was imported before."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own convention
    try:
        yield
    finally:
        del sys.modules[module]


# numba imports scipy's linear algebra for compiled functions that call it; none of ours does, and
# importing it takes longer than all of our modules
with _hidden("scipy.linalg.cython_blas"):
    import numba.np.arraymath


def compiled(function: F) -> F:
    """`function` compiled to machine code that runs without the GIL.

    The machine code is cached in __pycache__ or in the user's cache folder; where neither is
    writable, every process compiles again.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        return cast(F, numba.njit(nogil=True)(function))
