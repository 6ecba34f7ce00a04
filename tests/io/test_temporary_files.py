"""Temporary records and arrays come back as they were, and no file is left."""

import errno
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.compute import jit
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import check_text
from megastyle_cli.io import temporary_files
from megastyle_cli.io.npy import VectorWriter
from megastyle_cli.io.raw_jsonl.batches import read_batches
from megastyle_cli.io.temporary_files import Spool, scratch_array

RECORDS = st.lists(st.dictionaries(st.text(), st.integers() | st.text()), max_size=20)


@given(RECORDS, st.data(), st.sampled_from([1, 20, 1 << 18]))
def test_rows_are_read_in_any_order(
    records: list[dict[str, Any]], data: st.DataObject, window: int
) -> None:
    rows = data.draw(st.lists(st.sampled_from(range(len(records))))) if records else []
    with pytest.MonkeyPatch.context() as patch, Spool() as spool:
        patch.setattr(temporary_files, "_WINDOW", window)
        for record in records:
            spool.add(record)

        assert len(spool) == len(records)
        assert list(spool.read()) == records
        assert list(spool.read(rows)) == [records[row] for row in rows]


def test_batches_and_records_are_added_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "MAX_PLAIN_RECORDS", 0)  # few lines are read as many are
    (tmp_path / "a.jsonl").write_text('{"id":"a","style":"ink"}\n{"id":"b","style":"o\\u00e9"}\n')
    with Spool() as spool:
        spool.add({"id": "first"})
        for batch in read_batches(
            [str(tmp_path / "a.jsonl")], "style", partial(check_text, key="style")
        ):
            spool.extend(batch.lines, batch.is_plain)
        spool.add({"id": "last"})

        assert [record["id"] for record in spool.read()] == ["first", "a", "b", "last"]
        assert list(spool.is_plain) == [0, 1, 0, 0]


def test_lines_of_records_are_read_and_added_as_they_are() -> None:
    records = [{"id": "a"}, {"id": "\u00e9", "n": 0.5}, {"id": "c"}]
    with Spool() as spool, Spool() as copy:
        for record in records:
            spool.add(record)
        copy.extend(spool.lines(1, 3))

        assert list(copy.read()) == records[1:]
        assert list(copy.is_plain) == [0, 0]
        assert len(spool.lines(2, 2)) == 0


def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    with Spool() as spool:
        spool.add({"id": "a"})
        assert list(tmp_path.iterdir()) == []

    assert list(tmp_path.iterdir()) == []


def test_rows_come_back_and_no_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = np.arange(12, dtype=np.float32).reshape(3, 4)

    made = scratch_array(5, 4)
    made[1:4] = rows

    assert np.array_equal(made[1:4], rows) and not made[0].any() and made.dtype == np.float32
    assert list(tmp_path.iterdir()) == []
    assert scratch_array(0, 4).shape == (0, 4)


def test_a_full_disk_is_an_error_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)

    with pytest.raises(MegastyleError, match=r"no room for 1,000 vectors of 256 numbers") as error:
        scratch_array(1000, 256)
    assert error.value.exit_code == 1
    blocks = iter([np.ones((2, 8), np.float32)])
    with VectorWriter(None) as whole, pytest.raises(MegastyleError, match="no room for 2 vectors"):
        whole.write(2, blocks)


def test_scratch_vectors_are_deleted_with_their_block(tmp_path: Path) -> None:
    with VectorWriter(None, tmp_path) as whole:
        rows = whole.write(3, iter([np.ones((2, 4), np.float32), np.zeros((1, 4), np.float32)]))
        assert rows.path.parent == tmp_path and rows[:].sum() == 8

    assert list(tmp_path.iterdir()) == []
