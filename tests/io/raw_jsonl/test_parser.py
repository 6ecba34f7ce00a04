"""A line is copied exactly as parsing it and dump_line would write it, or is left to them."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megastyle_cli.core.record import Failure, is_blank
from megastyle_cli.io.inputs import records_from_lines
from megastyle_cli.io.raw_jsonl.parser import parse_plain_lines
from megastyle_cli.io.readers.jsonl import dump_line

PLAIN = [
    b'{"id":"a","style":"flat ink"}',
    b'{"id": "a", "style": "flat ink"}  ',
    b'{ "id" :7, "style" : "flat, {ink}" ,"n":-12,"x":true,"y":false ,"z":null }',
    b'{"style":" .","id":"a"}',
    '{"id":"\u00e9","style":"\u6c34\u5f69 \U0001f3a8","\u00e9":"\u05d0"}'.encode(),
]
NOT_PLAIN = [
    b"",
    b"   ",
    b"{}",
    b"[]",
    b'{"id":"a","style":"x"',
    b'{"id":"a","style":"x",}',
    b'{"id":"a","style":"x"}}',
    b'{"id":"a","style":"x"} {}',
    b'{"id":"a" "style":"x"}',
    b'{"id":"a","style":"x"};',
    b'{"id":"a","style":"say \\"x\\""}',
    b'{"id":"a","style":"tab\there"}',
    b'{"id":"a","style":"x","n":1.5}',
    b'{"id":"a","style":"x","n":01}',
    b'{"id":"a","style":"x","n":-0}',
    b'{"id":"a","style":"x","n":-05}',
    b'{"id":"a","style":"x","n":-}',
    b'{"id":"a","style":"x","n":1234567890123456789}',
    b'{"id":"a","style":"x","n":}',
    b'{"id":"a","style":"x","n":nul}',
    b'{"id":"a","style":"x","n":[1]}',
    b'{"id":"a","style":"x","n":{"a":1}}',
    b'{"id":"a","style":"x","style":"y"}',
    b'{"id":"","style":"x"}',
    b'{"id":null,"style":"x"}',
    b'{"id":true,"style":"x"}',
    b'{"style":"x","id":3}',
    b'{"style":"x"}',
    b'{"id":"a","style":7}',
    b'{"style":"","id":"a"}',
    b'{"id":"a","style":"  "}',
    '{"id":"a","style":" \u200b\u3000\ufeff"}'.encode(),
    b'{"id":"a"}',
    b'{"id":"a","style":"x","file_name":"a.png"}',
    b'{"id":"a","style":"x","style_picture":"a.png"}',
    b'{"id":"a","style":"x","neighbors":null}',
    b'{"id":"a","style":"x","_megastyle":null}',
    b'{"id":"a","style":"x","_error":null}',
    b'{"id":"a","style":"x\xff"}',
    b'{"id":"a","style":"\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"id":"a","style":"x"}',
    b'{"id":"a","style":"x"}\r',
]
KEYS = st.sampled_from(["id", "style", "n", "x y", "\u00e9", "file_name", "_error"]) | st.text()
VALUES = (
    st.text()
    | st.text("ab ,:{}", max_size=5)
    | st.integers(-(10**19), 10**19)
    | st.sampled_from([True, False, None, 0.5, 1e300, -0.0, [1], {"a": 1}])
)
OBJECTS = st.lists(st.tuples(KEYS, VALUES), max_size=4).map(
    lambda pairs: {"id": "a", "style": "ink", **dict(pairs)}
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")])


def parsed(line: bytes) -> Any:
    """What reading gives for a line; None for a blank one."""
    return next(records_from_lines("-", [line], 1), None)


def check(data: bytes) -> int:
    """Compares all lines of `data` with what parsing gives, and counts the plain ones."""
    every = data.splitlines(keepends=True) if b"\r" not in data else [data]
    found = parse_plain_lines(data, "style")
    assert list(found.raw) == every
    for line, is_plain, copied, text in zip(
        every, found.is_plain, found.lines, found.texts, strict=True
    ):
        if is_plain:
            record = parsed(line)
            assert not isinstance(record, Failure)
            assert copied == dump_line(record)
            assert text == record["style"].encode()
        else:
            assert copied == text == b""
    return int(found.is_plain.sum())


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_is_written_as_parsing_it_would(line: bytes) -> None:
    assert check(line + b"\n") == 1


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_any_other_line_is_left_to_the_reader(line: bytes) -> None:
    assert check(line + b"\n") == 0


def test_lines_keep_their_order() -> None:
    lines = [line for pair in zip(PLAIN, NOT_PLAIN[:4], strict=False) for line in pair]

    assert check(b"".join(line + b"\n" for line in lines)) == 4


@settings(max_examples=500)
@given(OBJECTS, SEPARATORS, st.booleans())
def test_every_object_is_copied_right_or_not_at_all(
    record: dict[str, Any], separators: tuple[str, str], is_ascii: bool
) -> None:
    line = json.dumps(record, separators=separators, ensure_ascii=is_ascii)
    num_plain = check(line.encode("utf-8", "surrogatepass") + b"\n")

    is_simple = {type(value) for value in record.values()} <= {bool, type(None)} | {str}
    if is_simple and line.isascii() and record.keys() <= {"id", "style", "n", "x y"}:
        strings = {type(record[key]) for key in ("id", "style")} == {str} and record["id"]
        strings = strings and not is_blank(record["style"])
        assert num_plain == bool(strings and "\\" not in line and "\x7f" not in line)


@settings(max_examples=1000)
@given(
    OBJECTS,
    SEPARATORS,
    st.lists(
        st.tuples(
            st.integers(0, 200), st.sampled_from(' {}[]":,\\019-.enulrts\u00e9\t') | st.just("")
        )
    ),
)
def test_damaged_lines_are_copied_right_or_not_at_all(
    record: dict[str, Any], separators: tuple[str, str], edits: list[tuple[int, str]]
) -> None:
    line = json.dumps(record, separators=separators)
    for at, character in edits:
        at %= len(line) or 1
        line = line[:at] + character + line[at + 1 :]

    check(line.encode() + b"\n")


@given(st.binary().filter(lambda data: b"\r" not in data))
def test_bytes_of_any_kind_are_not_copied(data: bytes) -> None:
    lines = b"".join(line + b"\n" for line in data.split(b"\n"))

    assert [*parse_plain_lines(lines, "style").raw] == [line + b"\n" for line in data.split(b"\n")]
    assert not parse_plain_lines(lines, "style").is_plain.any()
