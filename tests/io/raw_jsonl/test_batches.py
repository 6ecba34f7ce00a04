"""Blocks hold what the records hold that are read one by one, in the same order."""

import gzip
import json
import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate, check_text
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.raw_jsonl import annotate as noted_module
from megastyle_cli.io.raw_jsonl import batches as blocks
from megastyle_cli.io.raw_jsonl.annotate import read_annotated
from megastyle_cli.io.raw_jsonl.batches import read_batches
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.spool import Spool

CHECK = partial(check_text, key="style")


def mixed_lines(count: int) -> list[bytes]:
    """Plain lines with every kind of odd one among them."""
    draw = random.Random(3)
    odd = [
        *(b"", b"no json", b'{"id":"n"}', b'{"id":"n","style":3}', b'{"style":"no id"}'),
        *(b'{"id":"f","style":"x","score":0.50}', b'{"id":"q","style":"a \\"b\\" \\ud800"}'),
        *(b'{"id":"p","file_name":"a/b.png","style":"x"}', b'{"style":"x","id":4}'),
        *(b'{"id":"m","style":"y","_megastyle":{"caption":{"run":"1"}}}', b"[1]", b"\xff"),
    ]
    plain = [json.dumps({"id": k, "style": f"ink {k}"}).encode() for k in range(count)]
    return [draw.choice(odd) if draw.random() < 0.3 else line for line in plain]


def one_by_one(inputs: list[str]) -> tuple[list[Record], list[Failure]]:
    records, failures = [], []
    for found in read_records(inputs):
        try:
            if isinstance(found, Failure):
                failures.append(found)
            else:
                CHECK(found)
                records.append(found)
        except BadRecord as bad:
            failures.append(Failure(found, bad.kind, bad.message))
    return records, failures


@pytest.mark.parametrize("size", [7, 300, 1 << 20])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_blocks_hold_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setattr(blocks, "_BYTES", size)
    monkeypatch.chdir(tmp_path)
    path = Path("in", name)
    path.parent.mkdir()
    whole = b"\n".join(mixed_lines(400))  # the last line has no end
    path.write_bytes(gzip.compress(whole) if name.endswith(".gz") else whole)
    records, failures = one_by_one([str(path)])
    found = list(read_batches([str(path)], "style", CHECK))
    assert [line for block in found for line in block.lines] == list(map(dump_line, records))
    texts = [text.decode("utf-8", "surrogatepass") for block in found for text in block.texts]
    assert texts == [record["style"] for record in records]
    assert [failure for block in found for failure in block.failures] == failures
    assert len(failures) > 20


def test_a_limit_counts_records_and_failures(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(mixed_lines(50)))
    found = list(read_batches([str(path)], "style", CHECK, limit=20))
    assert sum(len(block) + len(block.failures) for block in found) == 20


def test_inputs_that_are_no_lines_are_read_as_records(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    table.write_text("id,style\n1,flat\n2,ink\n")
    lines.write_text('{"id":"3","style":"oil"}\n')
    (block,) = read_batches([str(table), str(lines)], "style", CHECK)
    assert list(block.texts) == [b"flat", b"ink", b"oil"]


def test_a_missing_input_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="does not exist"):
        read_batches([str(tmp_path / "none.jsonl")], "style", CHECK)


@pytest.mark.parametrize("window", [1, 30, 200, 1 << 18])  # bytes of the file held at a time
@pytest.mark.parametrize("words", ["", "\u00e9", "a long fact " * 40])
def test_a_note_at_the_end_of_a_line_is_the_note_of_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, words: str
) -> None:
    monkeypatch.setattr(noted_module, "_WINDOW", window)
    monkeypatch.setattr(blocks, "_BYTES", 300)  # bytes that are no UTF-8 make a block odd
    path = tmp_path / "a.jsonl"
    plain = [b'{"id":"p%d","style":"%s"}' % (n, b"ink " * (n % 90)) for n in range(1, 90)]
    path.write_bytes(b"\n".join([*plain, *mixed_lines(200)]))
    with Spool() as held:
        for block in read_batches([str(path)], "style", CHECK):
            held.extend(block)
        rows = [*range(90), *range(90, len(held), 3), 1, 0]
        facts = [{"on": words, "dropped": row} for row in rows]
        found = list(read_annotated(held, np.array(rows), "dedup", facts))
        told, which = np.unique([fact["dropped"] for fact in facts], return_inverse=True)
        few = [{"on": words, "dropped": row} for row in told.tolist()]
        again = list(read_annotated(held, np.array(rows), "dedup", few, which))
        records = held.read(rows)
        noted = [annotate(one, "dedup", **fact) for one, fact in zip(records, facts, strict=True)]
    for those in (found, again):
        lines = [one if isinstance(one, bytes) else dump_line(one) for one in those]
        assert b"".join(lines) == b"".join(map(dump_line, noted))
    assert {type(one) for one in found} == {bytes, dict}


@pytest.mark.parametrize("count", [0, 2, 4])
def test_facts_are_as_many_as_the_records(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"1","style":"ink"}\n' * 3)
    with Spool() as held:
        for block in read_batches([str(path)], "style", CHECK):
            held.extend(block)
        with pytest.raises(ValueError, match="facts"):
            list(read_annotated(held, np.arange(3), "dedup", [{}] * count))
