"""Parents are the records of a spool that differ, under ids of their own."""

from pathlib import Path

import pytest

from megastyle_cli.io.readers.jsonl import load_line
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.pair.parents import Parents, fingerprint, read_contents
from tests.conftest import jsonl

RECORDS = [
    {"id": "a", "content": "x"},
    {"id": "b", "content": "x"},
    {"id": "a", "content": "y"},
    {"id": "b", "content": "x"},
    {"id": "c", "content": "z"},
]
OWN = [RECORDS[0], RECORDS[1], {"id": "a_1", "content": "y"}, RECORDS[4]]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_repetitions_are_left_out_and_others_named(size: int) -> None:
    with Spool() as spool:
        for record in RECORDS:
            spool.add(record)
        ids = [str(record["id"]) for record in RECORDS]
        parents = Parents(spool, ids)

        assert list(parents) == OWN and len(parents) == 4
        assert [parents[row] for row in range(4)] == OWN and parents[1:3] == OWN[1:3]
        assert parents.own_ids(ids) == [record["id"] for record in OWN]
        found = []
        for lines, own in parents.batches(size):
            assert len(lines) <= size
            for row, line in enumerate(lines):
                found.append({**load_line(line), **({"id": own[row]} if row in own else {})})
        assert found == OWN


def test_contents_are_read_with_their_failures(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "c.jsonl", [*RECORDS, {"id": "d", "content": " "}])
    with Spool() as spool:
        contents, halves, failures = read_contents([str(path)], spool, None)

        assert list(contents) == OWN
        assert [halves.half(row).id for row in range(4)] == [record["id"] for record in OWN]
        assert [failure.record["id"] for failure in failures] == ["d"]


def test_the_fingerprint_identifies_the_contents() -> None:
    contents = [b"a\0A fox\n", "b\0A cat \ud800\n".encode("utf-8", "surrogatepass")]

    known = fingerprint(contents)

    assert known == "07a36c5d"
    for others in (contents[:1], contents[::-1], [contents[0], b"b\0A dog\n"]):
        assert fingerprint(others) != known
