"""A line is copied exactly as dump_line would write its record, or is left to it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import records_from_lines
from megastyle_cli.io.raw_jsonl.objects import KeyTable, find_members, is_visible, number_of_key
from megastyle_cli.io.readers.jsonl import dump_line

PLAIN = [
    b'{"id":"a"}',
    b'{ "id" : "a" , "n" : [ 1 , -2.50001, { } , [ ] ] , "o" : { "x" : null } }  ',
    b'{"x":true,"id":"a","y":false,"z":null,"id2":"say \\"x\\" \\\\ \\n\\t\\r\\b\\f"}',
    b'{"id":"a","file_name":"a/b.png","style_file_name":null,"_megastyle":{"a":{"run":"1"}}}',
    b'{"id":"a","n":0,"m":-1,"o":0.0,"p":-0.0,"q":0.0001,"r":123456.789012345,"s":100.0}',
    b'{"id":"a","n":123456789012345678,"o":{"n":1},"p":{"n":1}}',
    '{"id":"\u00e9","style":"\u6c34\u5f69 \U0001f3a8 \u007f","\u00e9":"\u05d0"}'.encode(),
    b'{"id":"a","a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}',
    b'{"id":"a","":1}',
]
NOT_PLAIN = [
    *(b"", b"   ", b"{}", b"[]", b'"a"', b'{"n":1}', b'{"id":"a"', b'{"id":"a",}', b'{"id":"a"}}'),
    *(
        b'{"id":"a"} {}',
        b'{"id":"a" "n":1}',
        b'{"id":"a","n"}',
        b'{"id":"a","n":}',
        b'{"id":"a",,}',
    ),
    *(b'{"id":"a","n":[1,]}', b'{"id":"a","n":[,1]}', b'{"id":"a","n":[1}', b'{"id":"a","n":{1}}'),
    *(b'{"id":"a","n":[1 2]}', b'{"id":"a","n":{"a":1]}', b'{"id":"a","n":]}', b'{"id":"a",1:2}'),
    *(
        b'{"id":""}',
        b'{"id":3}',
        b'{"id":null}',
        b'{"id":["a"]}',
        b'{"id":"\\n"}',
        b'{"\\"":1,"id":"a"}',
    ),
    *(b'{"id":"a","id":"b"}', b'{"id":"a","o":{"n":1,"n":2}}', b'{"id":"a","n":"\\u000a"}'),
    *(b'{"id":"a","n":"\\/"}', b'{"id":"a","n":"tab\there"}', b'{"id":"a","n":"open}'),
    *(b'{"id":"a","n":01}', b'{"id":"a","n":-0}', b'{"id":"a","n":-}', b'{"id":"a","n":1.}'),
    *(
        b'{"id":"a","n":.5}',
        b'{"id":"a","n":1.50}',
        b'{"id":"a","n":0.00001}',
        b'{"id":"a","n":1e5}',
    ),
    *(
        b'{"id":"a","n":00.5}',
        b'{"id":"a","n":1.2.3}',
        b'{"id":"a","n":nul}',
        b'{"id":"a","n":NaN}',
    ),
    *(b'{"id":"a","n":1234567890123456789}', b'{"id":"a","n":1234567.890123456}'),
    *(b'{"id":"a","file_name":3}', b'{"id":"a","file_name":["a"]}', b'{"id":"a","file_name":"a/"}'),
    *(
        b'{"id":"a","file_name":""}',
        b'{"id":"a","file_name":"a\\\\b"}',
        b'{"id":"a","file_name":"a/.."}',
    ),
    *(
        b'{"id":"a","path":"a.png"}',
        b'{"id":"a","style_picture":"a.png"}',
        b'{"id":"a","neighbors":[]}',
    ),
    *(b'{"id":"a","_error":{}}', b'{"id":"a","_megastyle":null}', b'{"id":"a","_megastyle":[]}'),
    b'{"id":"a","a":' + 8 * b'{"a":' + b"1" + 9 * b"}",
    b'{"id":"a",' + b",".join(b'"k%d":1' % k for k in range(128)) + b"}",
]


@pytest.mark.parametrize("line", PLAIN)
def test_plain_lines_are_copied_as_records_are_written(line: bytes) -> None:
    found = find_members(line + b"\n")

    (record,) = records_from_lines("a.jsonl", [line], 1)
    assert isinstance(record, dict) and found.is_plain.tolist() == [True]
    assert list(found.lines) == [dump_line(record)]
    assert found.ids() == [record["id"]]
    data = found.lines.data.tobytes()
    keys = [data[row[0] : row[1]].decode() for row in found.members.tolist()]
    values = [json.loads(data[row[2] : row[3]]) for row in found.members.tolist()]
    assert dict(zip(keys, values, strict=True)) == record


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_other_lines_are_left_alone(line: bytes) -> None:
    found = find_members(b'{"id":"x"}\n' + line + b"\n" + b'{"id":"y"}\n')

    assert found.is_plain.tolist() == [True, False, True]
    assert list(found.lines) == [b'{"id":"x"}\n', b"", b'{"id":"y"}\n']
    assert list(found.raw)[1] == line + b"\n"
    assert found.ids() == ["x", "", "y"]
    assert found.firsts.tolist() == [0, 1, 1, 2]


def test_a_block_that_is_not_utf8_has_no_plain_lines() -> None:
    assert find_members(b'{"id":"x"}\n"\xff"\n').is_plain.tolist() == [False, False]


def test_a_wanted_text_is_one_that_shows() -> None:
    lines = [
        *('{"id":"a","style":"ink"}', '{"id":"a","file_name":"b.png"}', '{"id":"a","style":3}'),
        *('{"id":"a","style":" "}', '{"id":"a","style":"\\n"}', '{"id":"a","style":"\u3000"}'),
        *('{"id":"a"}', '{"id":"a","style":" ","file_name":"b.png"}'),
    ]

    found = find_members("".join(f"{line}\n" for line in lines).encode(), ("style", "file_name"))

    assert found.is_plain.tolist() == [True, True, False, False, False, False, False, True]


def test_keys_are_found_by_their_names_alone() -> None:
    names = {f"key {n}": n for n in range(200)}
    table = KeyTable.of(names)

    def number(name: str) -> int:
        text = KeyTable.of({name: 0}).names if name else table.names[:0]
        return int(number_of_key(text, *table.arrays()))

    assert [number(name) for name in names] == list(names.values())
    assert [number(name) for name in ("", "key", "key 200", "Key 1")] == [-1] * 4


def test_escapes_do_not_make_a_text_visible() -> None:
    texts = [KeyTable.of({text: 0}).names for text in (" \\n ", "\\n.", "\\", " x")]

    assert [bool(is_visible(text)) for text in texts] == [False, True, False, True]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(-1000, 1000, places=4).map(float)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["id", "style", "file_name", "_megastyle", "neighbors", "path", "n"])


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(KEYS | st.text(), VALUES, max_size=5), max_size=4),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)
def test_any_record_is_copied_as_it_is_written_or_left_alone(
    records: list[dict[str, Any]], separators: tuple[str, str], is_ascii: bool
) -> None:
    lines = []
    for row, record in enumerate(records):
        text = json.dumps({"id": f"r{row}", **record}, separators=separators, ensure_ascii=is_ascii)
        lines.append(text.encode("utf-8", "surrogatepass") + b"\n")

    found = find_members(b"".join(lines))

    for row, line in enumerate(lines):
        if found.is_plain[row]:
            (record,) = records_from_lines("-", [line], 1)
            assert not isinstance(record, Failure)
            assert list(found.lines)[row] == dump_line(record)
