"""Marks are the bytes that end strings or are not plain in them."""

import numpy as np
import pytest

from megastyle_cli.io.raw_jsonl.marks import hash_of_name, is_utf8, is_word, mark_lines


def test_lines_and_their_marks() -> None:
    data = b'{"a":1}\n\n' + b"x" * 70 + b'\\"\t\xc3\xa9\n'

    marks, last, starts = mark_lines(np.frombuffer(bytearray(data), np.uint8))

    assert marks.tolist() == [at for at, byte in enumerate(data) if byte < 32 or byte in b'"\\']
    assert [data[marks[row]] for row in last] == [10, 10, 10]
    lines = [data[start:end] for start, end in zip(starts[:-1], starts[1:], strict=True)]
    assert lines == data.splitlines(keepends=True)


@pytest.mark.parametrize(("data", "expected"), [("é".encode(), True), (b"\xff", False)])
def test_utf8_is_valid(data: bytes, expected: bool) -> None:
    assert is_utf8(data) == expected


def test_words_are_those_of_json() -> None:
    words = [b"true", b"false", b"null", b"True", b"nul", b""]

    found = [is_word(np.frombuffer(bytearray(word), np.uint8)) for word in words]

    assert found == [True, True, True, False, False, False]


def test_names_have_their_published_hashes() -> None:
    # FNV-1a of 64 bits: http://www.isthe.com/chongo/src/fnv/test_fnv.c
    for name, known in ((b"", 0xCBF29CE484222325), (b"foobar", 0x85944171F73967E8)):
        assert int(hash_of_name(np.frombuffer(bytearray(name), np.uint8))) == known
