"""Bytes to numbers that look drawn: what keys of texts and hashes of words are made of."""

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
    """Every bit of a 64-bit value spread over all its bits. Source: SplitMix64, Steele 2014."""
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@compiled
def load(eight: Array) -> Any:
    """The word that eight bytes are."""
    word = np.uint64(0)
    for step in range(8):  # made one load, as places counted from 0 need no check
        word |= np.uint64(eight[step]) << np.uint64(8 * step)
    return word
