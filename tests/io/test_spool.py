"""A spool gives back the records that were added, in any order."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.record import check_text
from megastyle_cli.io import spool as spool_module
from megastyle_cli.io.raw_jsonl.batches import read_batches
from megastyle_cli.io.spool import Spool

RECORDS = st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=20)


@given(RECORDS, st.data(), st.sampled_from([1, 20, 1 << 18]))
def test_rows_are_read_in_any_order(
    records: list[dict[str, Any]], data: st.DataObject, window: int
) -> None:
    rows = data.draw(st.lists(st.sampled_from(range(len(records))))) if records else []
    with pytest.MonkeyPatch.context() as patch, Spool() as spool:
        patch.setattr(spool_module, "_WINDOW", window)
        for record in records:
            spool.add(record)

        assert len(spool) == len(records)
        assert list(spool.read()) == records
        assert list(spool.read(rows)) == [records[row] for row in rows]


def test_batches_and_records_are_added_in_turn(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id":"a","style":"ink"}\n{"id":"b","style":"o\\u00e9"}\n')
    with Spool() as spool:
        spool.add({"id": "first"})
        for batch in read_batches(
            [str(tmp_path / "a.jsonl")], "style", partial(check_text, key="style")
        ):
            spool.extend(batch)
        spool.add({"id": "last"})

        assert [record["id"] for record in spool.read()] == ["first", "a", "b", "last"]
        assert list(spool.is_plain) == [0, 1, 0, 0]


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with Spool() as spool:
        spool.add({"id": "a"})
        assert list(tmp_path.iterdir()) == []

    assert list(tmp_path.iterdir()) == []
