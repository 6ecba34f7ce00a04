"""JSON lines in and out: strict both ways, plain or compressed; a bad line becomes a Failure."""

import json
from collections.abc import Iterable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

import orjson

from megastyle_cli.core.record import ERROR, PROVENANCE, Failure, Record
from megastyle_cli.io.readers.bounded_lines import BadLine, bounded_lines
from megastyle_cli.io.readers.compressed import SUFFIXES as COMPRESSED
from megastyle_cli.io.readers.compressed import open_decompressed
from megastyle_cli.io.readers.line_faults import fault_of

_SAME_IN_BOTH = frozenset((str, int, bool, type(None)))  # orjson writes these as json does
_DIGITS_TO_ZERO = bytes(48 if 48 <= byte < 58 else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19
_OPTIONS = (
    orjson.OPT_APPEND_NEWLINE
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)


def read(path: Path) -> Iterator[Record | Failure]:
    """The records of a file, decompressed by its suffix; damage is a Failure at the end.

    Raises MegastyleError if it is damaged from its beginning.
    """
    with open_decompressed(path) as file:
        yield from read_lines(bounded_lines(file, str(path)), str(path))


def count(path: Path) -> int | None:
    """The number of lines; None if the file is compressed."""
    if path.suffix.lower() in COMPRESSED:
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def read_lines(
    lines: Iterable[bytes | BadLine], origin: str, first: int = 1
) -> Iterator[Record | Failure]:
    """The records of lines of bytes. Blank lines are skipped.

    Messages name a line by `origin` and its number, counted from `first`.
    """
    for number, line in enumerate(lines, start=first):
        if isinstance(line, BadLine):
            yield _bad_line(f"{origin} line {number} {line.reason}", "")
            continue
        record = _parse_fast(line)
        if record is not None:
            yield _without_error(record)
        elif line.strip():
            yield _parse_strict(line, f"{origin} line {number}")


def load_line(line: bytes) -> Record:
    """The record of a line that `dump_line` made."""
    fast = _parse_fast(line)
    found: Record = json.loads(line) if fast is None else fast
    return found


def dump_line(record: Record) -> bytes:
    """One compact line of UTF-8 with its newline, as `json.dumps` writes it.

    Lone surrogates, which stand for bytes of a file name that is not UTF-8, are escaped: the line
    stays valid and the name comes back byte for byte. Raises ValueError on NaN and Infinity.
    """
    try:
        line = orjson.dumps(record, option=_OPTIONS)
        if not _may_differ(line) or _is_same_in_both(record):
            return line
    except TypeError:  # a lone surrogate, or a number of more than 64 bits
        pass
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _parse_fast(line: bytes) -> Record | None:
    """The object of a line, as `_strict_loads` would read it; None where only that can tell.

    orjson is as strict, but reads an integer of more than 64 bits as a float.
    """
    if _LONG_NUMBER in line.translate(_DIGITS_TO_ZERO):
        return None
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _parse_strict(line: bytes, origin: str) -> Record | Failure:
    import jsonlines

    try:
        return _without_error(jsonlines.Reader([line], loads=_strict_loads).read(type=dict))
    except jsonlines.InvalidLineError as bad:
        return _bad_line(f"{origin} {fault_of(line, bad.__cause__)}", bad.line)


def _strict_loads(text: str | bytes) -> Any:
    def reject(word: str) -> NoReturn:
        raise ValueError(f"{word} is not allowed, use null")

    def finite(digits: str) -> float:
        number = float(digits)
        return number if isfinite(number) else reject(digits)

    try:
        return json.loads(text, parse_constant=reject, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _bad_line(message: str, line: str | bytes) -> Failure:
    text = line if isinstance(line, str) else line.decode(errors="backslashreplace")
    return Failure({ERROR: {"line": text.rstrip("\n")}}, "bad_json", message)


def _without_error(record: Record) -> Record | Failure:
    """A record as it was before it failed; a line that was no JSON is parsed once more."""
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
    return next(read_lines([line], "the errors file"), _bad_line("the errors file: no line", line))


def _may_differ(line: bytes) -> bool:
    """Whether orjson may have written a number unlike json: an exponent, 0.00001, or NaN as null.

    Searching the bytes costs a tenth of looking at every value.
    """
    zeros = line.translate(_DIGITS_TO_ZERO)
    return b"null" in line or b"0.0000" in line or b"0e0" in zeros or b"0e-0" in zeros


def _is_same_in_both(value: Any) -> bool:
    """Whether orjson writes a value as json does: all but very small and very large floats."""
    kind = type(value)
    if kind is dict:
        values = value.values()
        return _SAME_IN_BOTH.issuperset(map(type, values)) or all(map(_is_same_in_both, values))
    if kind is list:
        return _SAME_IN_BOTH.issuperset(map(type, value)) or all(map(_is_same_in_both, value))
    if kind is float:
        return bool(value == 0.0 or 1e-4 <= abs(value) < 1e16)
    return kind in _SAME_IN_BOTH
