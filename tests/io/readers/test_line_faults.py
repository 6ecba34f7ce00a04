"""The reason why a line is no record is said, and how to make lines of the file."""

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.io.readers.jsonl import read_lines


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"a":NaN}', "is not valid JSON: NaN is not allowed, use null"),
        (b'{"a":-Infinity}', "is not valid JSON: -Infinity is not allowed"),
        (b'{"a":1e999}', "is not valid JSON: 1e999 is not allowed"),
        ('{"a":1}\r\n'.encode("utf-16"), "is UTF-16, not UTF-8: convert the file with iconv"),
        ('\n{"a":1}'.encode("utf-16-le")[1:], "is UTF-16, not UTF-8"),
        (b'{"a":"\xff"}', "is not UTF-8: byte 6 is 0xff"),
        (b'[{"a":1}]', "is not a JSON object, but an array: make lines of it with jq -c '.[]'"),
        (b"7", "is not a JSON object"),
        (b"[\n", "is the first line of pretty-printed JSON: make lines of it with jq -c '.[]'"),
        (b"{\n", "is the first line of pretty-printed JSON: make lines of it with jq -c ."),
        (b'{"a":1}\r{"b":2}\r', "ends its records with carriage returns: convert the file with tr"),
        (b'{"a" 1}', "is not valid JSON: expecting ':' delimiter at column 6"),
        (b'{"a":"to', "is not valid JSON: unterminated string starting at column 6"),
        (b'{"a":"to\n', "is not valid JSON: invalid control character at column 9"),
        (b"\0\0\0\0\n", "is not valid JSON"),
        (
            b"pics/owl.jpg\n",
            "is a file name, not JSON: name files as inputs (caption, retrieve: --paths",
        ),
        (b"a.png\0b.png\0", "is a file name, not JSON"),
        (b"[" * 100_000, "is not valid JSON: nested too deeply"),
    ],
)
def test_a_line_that_is_no_record_says_why(line: bytes, why: str) -> None:
    (found,) = read_lines([line], "x.jsonl")

    assert isinstance(found, Failure) and found.kind == "bad_json"
    assert found.message.startswith(f"x.jsonl line 1 {why}")
