"""JSON lines are strict both ways, whatever packs them, and a bad line costs only itself."""

import bz2
import gzip
import json
import lzma
import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.readers.jsonl import dump_line, load_line, read, read_lines


@pytest.mark.parametrize(
    "suffix, opener", [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
)
def test_packed_files_read_as_plain_ones(tmp_path: Path, suffix: str, opener: object) -> None:
    path = tmp_path / f"a.jsonl{suffix}"
    with opener(path, "wb") as file:  # type: ignore[operator]
        file.write(b'{"id":"a"}\n\n  \n{"id":"b"}')

    assert list(read(path)) == [{"id": "a"}, {"id": "b"}]


def test_a_packed_file_that_is_cut_off_gives_its_lines_and_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id":"a"}\n' * 5000)[:-12])

    *records, last = read(path)

    assert records == [{"id": "a"}] * len(records) and len(records) > 4000
    assert isinstance(last, Failure) and last.kind == "bad_json"
    assert f"a.jsonl.gz line {len(records) + 1} is cut off or damaged" in last.message


@pytest.mark.parametrize("name", ["a.ndjson", "A.JSONL", "A.NDJSON.GZ", "a.Jsonl.Gz"])
def test_suffixes_in_any_case_are_json_lines(tmp_path: Path, name: str) -> None:
    line = b'{"id":"a"}\n'
    (tmp_path / name).write_bytes(gzip.compress(line) if name.lower().endswith("gz") else line)

    assert list(read_records([str(tmp_path / name)])) == [{"id": "a"}]


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"7", b'{"a":NaN}', b'{"a":Infinity}', b"\xff\xfe{}", b"[" * 100_000]
)
def test_a_bad_line_is_a_failure_and_its_neighbours_are_read(line: bytes) -> None:
    found = list(read_lines([b'{"id":"a"}\n', line + b"\n", b'{"id":"b"}\n'], "x.jsonl"))

    assert found[0] == {"id": "a"} and found[2] == {"id": "b"}
    assert isinstance(found[1], Failure) and found[1].kind == "bad_json"
    assert "x.jsonl" in found[1].message


def test_a_byte_order_mark_is_not_part_of_the_first_record() -> None:
    assert list(read_lines([b'\xef\xbb\xbf{"id":"a"}\n'], "x")) == [{"id": "a"}]


def test_a_failed_record_reads_as_it_was_before() -> None:
    line = b'{"id":"a","k":1,"_error":{"step":"caption","kind":"bad_image","message":"x"}}\n'

    assert list(read_lines([line], "x")) == [{"id": "a", "k": 1}]


def test_a_repaired_broken_line_is_tried_again() -> None:
    (broken,) = read_lines([b'{"id":"a"\n'], "x")
    assert isinstance(broken, Failure)

    (again,) = read_lines([dump_line(broken.record)], "errors")

    assert isinstance(again, Failure) and again.kind == "bad_json"


def test_names_that_are_not_utf8_come_back_byte_for_byte() -> None:
    name = os.fsdecode(b"caf\xe9.png")

    line = dump_line({"file_name": name, "word": "caf\u00e9"})

    assert line.decode("utf-8")
    assert os.fsencode(json.loads(line)["file_name"]) == b"caf\xe9.png"


def test_no_nan_is_ever_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dump_line({"score": float("nan")})


def test_quick_and_strict_readers_and_writers_agree_to_the_byte() -> None:
    rng = random.Random(0)

    def value(depth: int = 0) -> Any:
        kind = rng.randrange(8)
        if kind == 0:
            return rng.uniform(-1, 1) * 10.0 ** rng.randint(-320, 308)
        if kind == 1:
            return rng.randint(-(2**70), 2**70)
        if kind == 2:
            ranges = [(0, 0x80), (0xDC00, 0xE010), (0xE000, 0x10FFFF)]
            return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(5))
        if kind == 3 and depth < 3:
            return [value(depth + 1) for _ in range(rng.randrange(4))]
        if kind == 4 and depth < 3:
            return {str(key): value(depth + 1) for key in range(rng.randrange(4))}
        return rng.choice([None, True, False, 1, -5, 0.0, -0.0, 1e16, 9.9e15, 1e-4, 9.9e-5, 2**64])

    for _ in range(20_000):
        record = {"a": value(), "b": value()}
        try:
            plain = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            plain = json.dumps(record, separators=(",", ":")).encode()
        assert dump_line(record) == plain + b"\n"
        assert repr(load_line(plain)) == repr(json.loads(plain))
        assert repr(next(read_lines([plain], "x"))) == repr(record)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters() | st.characters(categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.text().filter(lambda key: key not in ("_error", "_megastyle"))


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_every_record_comes_back_as_json_would_write_it(record: dict[str, Any]) -> None:
    line = dump_line(record)

    assert line.count(b"\n") == 1 and line.endswith(b"\n") and line.decode()
    assert repr(json.loads(line)) == repr(load_line(line)) == repr(record)
    assert repr(list(read_lines([line], "x"))) == repr([record])


@given(st.binary(max_size=30))
def test_any_line_is_a_record_or_a_failure(line: bytes) -> None:
    found = list(read_lines([line], "x"))

    assert len(found) == bool(line.strip())
