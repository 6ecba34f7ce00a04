"""JSON lines in and out: strict both ways, plain or compressed; a bad line becomes a Failure."""

import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import ERROR, PROVENANCE, Failure, Record


def _open_zst(path: Path, mode: str) -> IO[bytes]:
    from megastyle_cli.io.readers.zstd import open_zst

    return open_zst(path, mode)


OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zst}
SUFFIXES = (".jsonl", *(f".jsonl{packed}" for packed in OPENERS))

_WRITTEN_ALIKE = frozenset((str, int, bool, type(None)))
_DIGITS_ALIKE = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19
_AS_JSON = (
    orjson.OPT_APPEND_NEWLINE
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def is_jsonl(name: str) -> bool:
    """Whether `name` says that it holds JSON lines."""
    return name.endswith(SUFFIXES)


def dump_line(record: Record) -> bytes:
    """One compact line of UTF-8 with its newline.

    Lone surrogates, which stand for bytes of a file name that is not UTF-8, are escaped: the line
    stays valid and the name comes back byte for byte. Raises ValueError on NaN and Infinity.
    """
    try:
        line = orjson.dumps(record, option=_AS_JSON)
        if not _may_be_spelled_apart(line) or _is_plain(record):
            return line
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        pass
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def read_jsonl(path: Path) -> Iterator[Record | Failure]:
    """The records of one file, opened by its suffix. Raises MegastyleError if it cannot be read."""
    with open_lines(path) as lines:
        yield from read_lines(lines, str(path))


@contextmanager
def open_lines(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file of lines, unpacked. Raises MegastyleError if they cannot be read."""
    opener: Any = OPENERS.get(path.suffix, open)
    try:
        with opener(path, "rb") as lines:
            yield lines
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise MegastyleError(
            f"{path} is cut off or damaged: {error}", hint="make it again"
        ) from error


def read_lines(
    lines: IO[bytes] | Iterable[bytes], origin: str, first: int = 1
) -> Iterator[Record | Failure]:
    """The records of lines of bytes. Blank lines are skipped.

    `origin`, and the number of a line, `first` that of the first, name them in messages.
    """
    for number, line in enumerate(_held_to_the_end(lines), start=first):
        record = _quickly(line)
        if record is not None:
            yield _as_first_read(record)
        elif line.strip():
            yield _slowly(line, f"{origin} line {number}")


def load_line(line: bytes) -> Record:
    """The record of a line that `dump_line` made."""
    quick = _quickly(line)
    found: Record = json.loads(line) if quick is None else quick
    return found


def _quickly(line: bytes) -> Record | None:
    """The object of a line, as `_strict` would read it; None where only that can tell.

    orjson is as strict, but takes an integer of more than 64 bits for a float.
    """
    if _LONG_NUMBER in line.translate(_DIGITS_ALIKE):
        return None
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _slowly(line: bytes, origin: str) -> Record | Failure:
    import jsonlines

    try:
        return _as_first_read(jsonlines.Reader([line], loads=_strict).read(type=dict))
    except jsonlines.InvalidLineError as bad:
        why = "is not valid JSON" if bad.__cause__ else "holds no object"
        return _broken(f"{origin} {why}", bad.line)


def _may_be_spelled_apart(line: bytes) -> bool:
    """Whether orjson may have spelled something as json does not: an exponent, 0.00001, or NaN.

    It makes null of that. A few searches for bytes cost a tenth of a look at every value.
    """
    alike = line.translate(_DIGITS_ALIKE)
    return b"null" in line or b"0.0000" in line or b"0e0" in alike or b"0e-0" in alike


def _is_plain(value: Any) -> bool:
    """Whether orjson writes it as json does: a very small or large number it spells otherwise."""
    kind = type(value)
    if kind is dict:
        values = value.values()
        return _WRITTEN_ALIKE.issuperset(map(type, values)) or all(map(_is_plain, values))
    if kind is list:
        return _WRITTEN_ALIKE.issuperset(map(type, value)) or all(map(_is_plain, value))
    if kind is float:
        return bool(value == 0.0 or 1e-4 <= abs(value) < 1e16)
    return kind in _WRITTEN_ALIKE


def _held_to_the_end(lines: Iterable[bytes]) -> Iterator[bytes]:
    # jsonlines takes any EOFError for the end of the input; a cut-off .gz raises one in the middle.
    try:
        yield from lines
    except EOFError as error:
        raise MegastyleError(
            f"the compressed input is cut off: {error}", hint="make it again"
        ) from error


def _strict(text: str | bytes) -> Any:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is not JSON")

    def finite(digits: str) -> float:
        number = float(digits)
        return number if isfinite(number) else refuse(digits)

    try:
        return json.loads(text, parse_constant=refuse, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _broken(message: str, line: str | bytes) -> Failure:
    text = line if isinstance(line, str) else line.decode(errors="backslashreplace")
    return Failure({ERROR: {"line": text.rstrip("\n")}}, "bad_json", message)


def _as_first_read(record: Record) -> Record | Failure:
    """A record as it stood before it failed; a line that was no JSON is tried once more."""
    # tables write null for a key that other rows have
    if not isinstance(record.get(PROVENANCE, {}), dict):
        record = {key: value for key, value in record.items() if key != PROVENANCE}
    if ERROR not in record:
        return record
    error = record[ERROR]
    rest = {key: value for key, value in record.items() if key != ERROR}
    if rest or not isinstance(error, dict) or "line" not in error:
        return rest
    line = str(error["line"]).encode(errors="backslashreplace")
    return next(read_lines([line], "the errors file"), _broken("the errors file: no line", line))
