"""Many texts in one array of bytes, and the 64-bit primitives that hash them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megastyle_cli.compute.jit import compiled, is_plain

Array = npt.NDArray[Any]

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)


@dataclass(frozen=True)
class StringArray:
    """Texts as UTF-8, one after another; text i is `data[starts[i] : starts[i + 1]]`."""

    data: Array  # (bytes,) uint8
    starts: Array  # (n + 1,) int64

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[bytes]:
        whole, starts = self.data.tobytes(), self.starts.tolist()
        return (whole[start:end] for start, end in zip(starts[:-1], starts[1:], strict=True))

    def slice(self, first: int, end: int) -> "StringArray":
        """Texts `first` to `end`, `end` excluded."""
        low, high = self.starts[first], self.starts[end]
        return StringArray(self.data[low:high], self.starts[first : end + 1] - low)

    def take(self, chosen: Array) -> "StringArray":
        """The texts `chosen` (n,), in that order."""
        if is_plain():
            listed = list(self)
            return StringArray.from_bytes(listed[row] for row in chosen)
        starts = _starts(np.diff(self.starts)[chosen])
        data = np.empty(starts[-1], np.uint8)
        _gather(self.data, self.starts, chosen, data)
        return StringArray(data, starts)

    @classmethod
    def from_strings(cls, texts: Iterable[str]) -> "StringArray":
        """An array of strings; a lone surrogate becomes the three bytes of its code."""
        return cls.from_bytes(text.encode("utf-8", "surrogatepass") for text in texts)

    @classmethod
    def from_bytes(cls, texts: Iterable[bytes]) -> "StringArray":
        """An array of texts that are UTF-8 already."""
        listed = list(texts)
        lengths = np.fromiter(map(len, listed), np.int64, len(listed))
        # a bytearray: code is compiled once more for an array that is read-only
        return cls(np.frombuffer(bytearray().join(listed), np.uint8), _starts(lengths))

    @classmethod
    def concatenate(cls, parts: Sequence["StringArray"]) -> "StringArray":
        """The texts of all `parts` in one array."""
        lengths = [np.diff(part.starts) for part in parts]
        return cls(
            np.concatenate([np.empty(0, np.uint8), *(part.data for part in parts)]),
            _starts(np.concatenate([np.empty(0, np.int64), *lengths])),
        )


def count_lines(data: bytes) -> int:
    """The number of newlines: `bytes.count` takes five times as long for lines of usual length."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == b"\n"[0]))


@compiled
def append(out: Array, used: int, part: Array) -> int:
    """Copies `part` to `out` from byte `used` on, and returns the number of bytes used then."""
    target = out[used : used + len(part)]
    for at in range(len(part)):  # over views, which LLVM turns into one move
        target[at] = part[at]
    return used + len(part)


@compiled
def _gather(data: Array, starts: Array, chosen: Array, out: Array) -> None:
    used = 0
    for row in chosen:
        used = append(out, used, data[starts[row] : starts[row + 1]])


def _starts(lengths: Array) -> Array:
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


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
