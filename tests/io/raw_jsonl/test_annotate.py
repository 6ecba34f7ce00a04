"""Annotated lines are those that annotating the parsed records would give."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.record import annotate, check_text
from megastyle_cli.io.raw_jsonl import batches
from megastyle_cli.io.raw_jsonl.batches import read_annotated, read_batches
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.temporary_files import Spool
from tests.io.raw_jsonl.lines import mixed_lines

CHECK = partial(check_text, key="style")


@pytest.mark.parametrize("window", [1, 30, 200, 1 << 18])  # bytes of the file in memory
@pytest.mark.parametrize("words", ["", "\u00e9", "a long fact " * 40])
def test_annotated_lines_equal_annotated_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, words: str
) -> None:
    monkeypatch.setattr(batches, "_WINDOW", window)
    monkeypatch.setattr(batches, "_BATCH_BYTES", 300)  # one byte that is not UTF-8 spoils a batch
    path = tmp_path / "a.jsonl"
    plain = [b'{"id":"p%d","style":"%s"}' % (n, b"ink " * (n % 90)) for n in range(1, 90)]
    path.write_bytes(b"\n".join([*plain, *mixed_lines(200)]))
    with Spool() as spool:
        for batch in read_batches([str(path)], "style", CHECK):
            spool.extend(batch.lines, batch.is_plain)
        rows = [*range(90), *range(90, len(spool), 3), 1, 0]
        facts = [{"on": words, "dropped": row} for row in rows]
        records = spool.read(rows)
        expected = [annotate(r, "dedup", **fact) for r, fact in zip(records, facts, strict=True)]

        one_each = list(read_annotated(spool, np.array(rows), "dedup", facts))
        numbers, which = np.unique(rows, return_inverse=True)
        shared = [{"on": words, "dropped": number} for number in numbers.tolist()]
        by_number = list(read_annotated(spool, np.array(rows), "dedup", shared, which))

    for found in (one_each, by_number):
        lines = [one if isinstance(one, bytes) else dump_line(one) for one in found]
        assert b"".join(lines) == b"".join(map(dump_line, expected))
    assert {type(one) for one in one_each} == {bytes, dict}


@pytest.mark.parametrize("count", [0, 2, 4])
def test_there_must_be_facts_for_every_record(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id":"1","style":"ink"}\n' * 3)
    with Spool() as spool:
        for batch in read_batches([str(path)], "style", CHECK):
            spool.extend(batch.lines, batch.is_plain)
        with pytest.raises(ValueError, match="facts"):
            list(read_annotated(spool, np.arange(3), "dedup", [{}] * count))
