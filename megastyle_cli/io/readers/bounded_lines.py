"""Lines of a file, none longer than the limit (core/limits.py), and all that come before damage."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.limits import max_item_bytes, too_large
from megastyle_cli.io.readers.compressed import DAMAGE

_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class BadLine:
    """A line that cannot be read, and the reason: what follows "x.jsonl line 7"."""

    reason: str


def bounded_lines(file: IO[bytes], name: str) -> Iterator[bytes | BadLine]:
    """Lines with their ends, each as soon as it is there, and a BadLine for one that is too long.

    Damage is a last BadLine; it raises MegastyleError if nothing was read before it.
    """
    limit = max_item_bytes()
    line: bytes | BadLine = b""
    try:
        while line := file.readline(limit + 1):
            if len(line) > limit and not line.endswith(b"\n"):
                while (rest := file.readline(_PIECE)) and not rest.endswith(b"\n"):
                    pass
                line = _too_long()
            yield line
    except DAMAGE as error:
        yield _damaged(name, error, is_first=not line)


def bounded_blocks(file: IO[bytes], name: str, size: int) -> Iterator[bytes | BadLine]:
    """The same lines, in blocks of about `size` bytes; each line ends with a newline."""
    limit = max_item_bytes()
    begun: list[bytes] = []  # pieces of a line that has no end yet
    length = 0  # of that line
    for piece in _pieces(file, name, min(size, limit)):
        if isinstance(piece, BadLine):
            yield piece
            return
        first, end = piece.find(b"\n") + 1, piece.rfind(b"\n") + 1
        if end:
            start = 0
            if length + first > limit + 1:
                yield _too_long()
                begun, start = [], first
            if start < end:
                yield b"".join((*begun, piece[start:end]))
            begun, length = [], 0
        length += len(piece) - end
        begun = [*begun, piece[end:]] if length <= limit else []
    if length > limit:
        yield _too_long()
    elif length:
        yield b"".join((*begun, b"\n"))


def _pieces(file: IO[bytes], name: str, size: int) -> Iterator[bytes | BadLine]:
    """The file in pieces of `size` bytes; what comes before damage is a piece of its own."""
    parts: list[bytes] = []
    length, is_first, damage = 0, True, None
    read = getattr(file, "read1", file.read)
    while damage is None:
        try:
            part = read(size - length)
        except DAMAGE as error:
            part, damage = b"", _damaged(name, error, is_first=is_first and not parts)
        parts.append(part)
        length += len(part)
        if length == size or not part:
            if length:
                yield b"".join(parts)
            parts, length, is_first = [], 0, False
            if not part:
                break
    if damage:
        yield damage


def _too_long() -> BadLine:
    return BadLine(too_large("").lstrip())


def _damaged(name: str, error: BaseException, *, is_first: bool) -> BadLine:
    why = f"is cut off or damaged: {error}"
    if is_first:
        raise MegastyleError(f"{name} {why}", hint="create it again")
    return BadLine(why)
