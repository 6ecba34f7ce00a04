"""A line is copied exactly as the parser and dump_line would have it, or is left to them."""

import json
import random
from typing import Any

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import records_from_lines
from megastyle_cli.io.raw_jsonl.parser import parse_plain_lines
from megastyle_cli.io.readers.jsonl import dump_line

PLAIN = [
    b'{"id":"a","style":"flat ink"}',
    b'{"id": "a", "style": "flat ink"}  ',
    b'{ "id" :7, "style" : "flat, {ink}" ,"n":-12,"x":true,"y":false ,"z":null }',
    b'{"style":"","id":"a"}',
    '{"id":"\u00e9","style":"\u6c34\u5f69 \U0001f3a8","\u00e9":"\u05d0"}'.encode(),
]
ODD = [
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
CHARACTERS = ' {}[]":,\\019-.einulltrsa\u00e9\U0001f3a8\t'


def parsed(line: bytes) -> Any:
    """The one result of the parser's way; None for a blank line."""
    return next(records_from_lines("-", [line], 1), None)


def copied(line: bytes) -> tuple[bytes, str]:
    """What is written of a line, and its text."""
    lines = parse_plain_lines(line + b"\n", "style")
    assert lines.is_plain.tolist() == [True]
    return lines.lines.data.tobytes(), lines.texts.data.tobytes().decode()


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_is_written_as_the_parser_would_have_it(line: bytes) -> None:
    record = parsed(line)
    assert copied(line) == (dump_line(record), record["style"])


@pytest.mark.parametrize("line", ODD)
def test_an_odd_line_is_left_to_the_parser(line: bytes) -> None:
    lines = parse_plain_lines(line + b"\n", "style")
    assert not lines.is_plain.any()
    assert len(lines.lines.data) == len(lines.texts.data) == 0


def test_lines_keep_their_places_among_others() -> None:
    every = [line for pair in zip(PLAIN, ODD, strict=False) for line in pair]
    every = [line for line in every if b"\xff" not in line and b"\xed" not in line]
    lines = parse_plain_lines(b"".join(line + b"\n" for line in every), "style")
    assert list(lines.came) == [line + b"\n" for line in every]
    expected = [dump_line(parsed(line)) if line in PLAIN else b"" for line in every]
    assert list(lines.lines) == expected
    texts = [parsed(line)["style"].encode() if line in PLAIN else b"" for line in every]
    assert list(lines.texts) == texts


def test_whatever_comes_is_copied_right_or_left_alone() -> None:
    draw = random.Random(7)
    num_plain = 0
    for _ in range(20_000):
        record: dict[str, Any] = {"id": draw.choice(["a", 5, ""]), "style": "flat ink"}
        for _ in range(draw.randrange(3)):
            name = "".join(draw.choices("stylenid_", k=draw.randrange(1, 4)))
            record[name] = draw.choice(["x, y", 0, -3, True, None, 0.5, 10**18, [1], "", 'a"b'])
        spaced = draw.choice([(",", ":"), (", ", ": "), (" ,", " :")])
        text = json.dumps(record, separators=spaced, ensure_ascii=draw.random() < 0.5)
        for _ in range(draw.choice([0, 0, 1, 1, 2])):  # and something is broken, moved or doubled
            at = draw.randrange(len(text))
            text = text[:at] + draw.choice(["", draw.choice(CHARACTERS)]) + text[at + 1 :]
        line = text.encode()
        lines = parse_plain_lines(line + b"\n", "style")
        if lines.is_plain[0]:
            num_plain += 1
            read = parsed(line)
            assert not isinstance(read, Failure), line
            assert list(lines.lines) == [dump_line(read)], line
            assert list(lines.texts) == [read["style"].encode()], line
    assert num_plain > 2_000
