"""Parquet shards read back as the records written, in groups of limited size."""

import io

import pyarrow.parquet as pq
import pytest

from megastyle_cli.io.writers import parquet

PNG = b"\x89PNG" + b"0" * 96


def written(rows: list[tuple[dict, bytes]]) -> pq.ParquetFile:
    file = io.BytesIO()
    parquet.write(file, rows)
    return pq.ParquetFile(io.BytesIO(file.getvalue()))


def test_rows_have_the_columns_of_the_releases() -> None:
    record = {"id": "s1_c2", "content": "A frog", "style": 7, "n": 1}

    (row,) = written([(record, PNG)]).read().to_pylist()

    assert row == {
        "id": "s1_c2",
        "image": {"bytes": PNG, "path": "s1_c2.png"},
        "content": "A frog",
        "style": None,
    }


def test_a_group_has_a_limited_number_of_rows() -> None:
    file = written([({"id": str(n)}, PNG) for n in range(250)])

    groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert groups == [100, 100, 50]


def test_a_group_has_a_limited_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 250)
    file = written([({"id": str(n)}, PNG) for n in range(7)])

    groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert groups == [3, 3, 1]


def test_lone_surrogates_are_escaped() -> None:
    (row,) = written([({"id": "\udce9", "content": "caf\udce9"}, PNG)]).read().to_pylist()

    assert row["id"] == "\\udce9" and row["content"] == "caf\\udce9"
