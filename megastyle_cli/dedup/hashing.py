"""64-bit hash primitives for compiled code."""

from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled

Array = npt.NDArray[Any]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@compiled
def mix(value: Any) -> Any:
    """A bijective mix of 64 bits: every input bit affects every output bit.

    Source: the finalizer of SplitMix64 (Steele et al. 2014).
    """
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@compiled
def load_word(eight: Array) -> Any:
    """Eight bytes as one little-endian 64-bit word."""
    word = np.uint64(0)
    for step in range(8):  # compiled to one load: indices counted from 0 need no bounds check
        word |= np.uint64(eight[step]) << np.uint64(8 * step)
    return word
