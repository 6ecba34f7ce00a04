"""The table of style attributes beside the 8M release: joined by position, or refused."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import read_records
from tests.conftest import draw
from tests.io.readers.samples import (
    whole,
)

RELEASED = [
    *("overall artistic style", "dominant colors", "supporting colors", "light"),
    *("visual pattern", "surface status", "medium", "brushwork", "edge rendering"),
]


def release(folder: Path, shards: tuple[int, ...], styles: int, per_style: int = 8) -> Path:
    """Parquet files of so many rows and the table beside them; some values are N/A."""
    folder.mkdir()
    buffer = io.BytesIO()
    draw(1).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": "x.jpg"}
    first = 0
    for number, count in enumerate(shards):
        rows = [
            {"id": f"s{1 + row // per_style}_c{row}", "image": image, "style": "ink"}
            for row in range(first, first + count)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"train-{number:05}.parquet")
        first += count
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        table.writerow(RELEASED)
        for n in range(styles):
            odd = "N/A" if n % 2 else "fine, grain"
            table.writerow([f"style {n}", "teal", "N/A", "soft", odd, "matte", "ink", "", "sharp"])
    return folder


@pytest.mark.parametrize("shards", [(40,), (12, 28), (3, 3, 34)])
def test_the_table_of_the_release_is_joined_by_position(
    tmp_path: Path, shards: tuple[int, ...]
) -> None:
    records = whole(release(tmp_path / "r", shards, styles=5))

    assert [r["style_identity"] for r in records] == [f"style {row // 8}" for row in range(40)]
    assert [r["style_id"] for r in records] == [str(1 + row // 8) for row in range(40)]
    for row, record in enumerate(records):
        assert ("style_pattern" in record) == (row // 8 % 2 == 0)
        assert "style_accents" not in record and "style_brushwork" not in record
        assert record["style_edges"] == "sharp"
    assert [r["style_identity"] for r in read_records([str(tmp_path / "r")], limit=9)][-1:] == [  # type: ignore[index]
        "style 1"
    ]


@pytest.mark.parametrize("styles", [0, 3, 41])
def test_a_table_of_another_length_is_refused(tmp_path: Path, styles: int) -> None:
    folder = release(tmp_path / "r", (40,), styles)

    with pytest.raises(MegastyleError, match=f"describes {styles} styles.* 40 images"):
        whole(folder)
    assert "style_identity" not in whole(folder / "train-00000.parquet")[0]


def test_a_table_of_something_else_beside_parquet_is_refused(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", (8,), 1)
    (folder / "metadata.csv").write_text("a,b\n1,2\n")

    with pytest.raises(MegastyleError, match="none of its columns is a style attribute: a, b"):
        whole(folder)


def test_a_damaged_page_moves_no_attribute(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", (16, 16), styles=4)
    path = folder / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 30] = b"\xff" * 30
    path.write_bytes(content)

    found = list(read_records([str(folder)]))

    assert isinstance(found[0], Failure) and len(found) == 17
    assert [r["style_identity"] for r in found[1:]] == ["style 2"] * 8 + ["style 3"] * 8  # type: ignore[index]
