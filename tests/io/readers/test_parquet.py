"""Parquet files: rows are records, pictures open by row, damage is a failure."""

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.writers import parquet
from tests.conftest import Runner, draw, lines
from tests.io.readers.samples import (
    as_parquet,
    but,
    png,
    whole,
)


def test_an_id_of_the_releases_tells_style_and_content(tmp_path: Path) -> None:
    rows = whole(as_parquet(tmp_path / "x.parquet"))

    assert [(r["style_id"], r["content_id"]) for r in rows[:3]] == [
        *[("0", "0"), ("0", "1"), ("1", "2")]
    ]
    assert rows[4]["file_name"] == f"{tmp_path / 'x.parquet'}#4"


def test_rows_open_in_any_order_from_any_thread(tmp_path: Path) -> None:
    records = [{"id": str(n)} for n in range(90)]
    path = as_parquet(tmp_path / "x.parquet", records, row_group_size=50)
    order = [(37 * n) % 90 for n in range(90)]

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda n: open_picture(f"{path}#{n}").tobytes(), order))

    assert opened == [draw(n).tobytes() for n in order]


def test_a_parquet_file_that_is_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(MegastyleError, match="is not a parquet file, or is damaged"):
        read_records([str(path)])


def test_a_page_that_is_damaged_is_a_failure(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "x.parquet", compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)

    damaged, *rest = read_records([str(path)])

    assert isinstance(damaged, Failure) and f"{path} is damaged after row 0" in damaged.message
    assert [one["n"] for one in rest if isinstance(one, dict)] == [3, 4, 5, 6]  # other row groups


def test_a_table_of_texts_gives_records_and_nulls_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"style": "ink", "x": 1.5, "tags": ["a"]}, {"style": None, "x": float("nan")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")

    records = whole(tmp_path / "x.parquet")

    assert but(records, "id") == [{"style": "ink", "x": 1.5}, {}]
    assert "['tags']" in caplog.text


def test_a_row_without_a_picture_fails_alone(tmp_path: Path) -> None:
    images = [{"bytes": png(1), "path": "a"}, None, {"bytes": None, "path": "b"}]
    rows = [{"image": image} for image in images]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")

    found = list(read_records([str(tmp_path / "x.parquet")]))

    assert [isinstance(one, Failure) for one in found] == [False, True, True]


READING = """
import sys
import pyarrow
from megastyle_cli.io.formats import picture_bytes
from megastyle_cli.io.inputs import read_records
sizes = [len(picture_bytes(record["file_name"])) for record in read_records([sys.argv[1]])]
print(len(sizes), sum(sizes), pyarrow.default_memory_pool().max_memory())
"""


def test_the_memory_for_pictures_of_a_parquet_file_does_not_grow_with_it(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 800):  # groups of 100
        path = tmp_path / f"{count}.parquet"
        noise = random.Random(0)
        rows = (({"id": f"s1_c{n}"}, noise.randbytes(100_000)) for n in range(count))
        with path.open("wb") as file:
            parquet.write(file, rows)
        command = [sys.executable, "-c", READING, str(path)]
        printed = subprocess.run(command, capture_output=True, check=True).stdout
        read, held, peak = map(int, printed.split())
        assert (read, held) == (count, count * 100_000)
        peaks.append(peak)

    assert peaks[1] < 1.3 * peaks[0] and peaks[1] < 800 * 100_000


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"id": ["s1_c1", "s1_c2"], "style": ["ink", "oil"]}, ["missing_key"] * 2),
        ({"id": ["s1_c1", "s1_c2"], "image": ["a.png", "b.png"]}, ["bad_image"] * 2),
        ({"id": ["s1_c1", "s1_c2"], "image": [{"bytes": b"", "path": "a"}, None]}, ["bad_image"]),
    ],
)
def test_parquet_without_pictures_is_an_error_record_a_row(
    megastyle: Runner, tmp_path: Path, columns: dict[str, list[Any]], kinds: list[str]
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")

    ended = megastyle("caption", tmp_path / "x.parquet", "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3 and b"Traceback" not in ended.stderr, ended.stderr.decode()
    failed = lines(tmp_path / "out.errors.jsonl")
    assert [one["id"] for one in failed] == ["s1_c1", "s1_c2"]
    assert {one["_error"]["kind"] for one in failed} == set(kinds)


def test_a_binary_column_that_is_called_like_a_suffix_holds_pictures(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"jpg": [png(1), png(2)], "caption": ["a", "b"]}), path)

    first, second = whole(path)

    assert (first["caption"], second["file_name"]) == ("a", f"{path}#1")
    assert open_picture(second["file_name"]).tobytes() == draw(2).tobytes()


@pytest.mark.parametrize("key", ["image", "path", "file_name"])
def test_a_column_of_paths_names_pictures(pictures: Path, key: str) -> None:
    pq.write_table(pa.table({key: ["0.png", "1.png"]}), pictures / "x.parquet")

    assert [Path(record["file_name"]).name for record in whole(pictures / "x.parquet")] == [
        "0.png",
        "1.png",
    ]


@pytest.mark.parametrize("ids", [{}, {"id": ["a", "b"]}])
def test_a_path_is_taken_where_there_are_no_bytes(pictures: Path, ids: dict[str, Any]) -> None:
    images = [{"bytes": png(9), "path": "x.png"}, {"bytes": None, "path": "1.png"}]
    pq.write_table(pa.table({"image": images, **ids}), pictures / "x.parquet")

    first, second = whole(pictures / "x.parquet")

    assert first["file_name"].endswith("x.parquet#0")
    assert Path(second["file_name"]).samefile(pictures / "1.png")


def test_failed_downloads_of_img2dataset_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    columns = {
        "status": ["success", "failed_to_download"],
        "error_message": [None, "HTTP Error 404"],
        "jpg": [png(1), None],
    }
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")

    assert len(whole(tmp_path / "x.parquet")) == 1
    assert "x.parquet: 1 failed downloads are skipped" in caplog.text


def test_columns_called_like_our_objects_are_left_out(tmp_path: Path) -> None:
    columns = {"id": ["a"], "_error": ["x"], "_megastyle": ["y"], "neighbors": ["z"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")

    assert whole(tmp_path / "x.parquet") == [{"id": "a"}]


def test_a_cell_over_the_limit_is_a_failure(
    tmp_path: Path, item_size: Callable[[str], None]
) -> None:
    item_size("2K")
    columns = {"id": ["a", "b", "c"], "style": ["ink", "x" * 3000, "oil"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")

    first, failure, last = read_records([str(tmp_path / "x.parquet")])

    assert isinstance(failure, Failure) and "row 1: style is more than 2K" in failure.message
    assert [one["id"] for one in (first, last) if isinstance(one, dict)] == ["a", "c"]


def test_a_row_group_of_huge_cells_is_not_even_read(
    tmp_path: Path, item_size: Callable[[str], None]
) -> None:
    item_size("2K")
    pq.write_table(pa.table({"id": ["a"], "style": ["x" * 9000]}), tmp_path / "x.parquet")

    (failure,) = read_records([str(tmp_path / "x.parquet")])

    assert isinstance(failure, Failure) and "x.parquet row 0: a cell takes 8" in failure.message


def test_damage_to_the_footer_names_the_file(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "x.parquet")
    whole_file = path.read_bytes()
    length = int.from_bytes(whole_file[-8:-4], "little")
    rng = random.Random(0)

    for _ in range(60):
        content = bytearray(whole_file)
        for _ in range(8):
            content[rng.randrange(len(content) - 8 - length, len(content) - 8)] = rng.randrange(256)
        path.write_bytes(content)
        try:
            found = list(read_records([str(path)]))
        except MegastyleError as error:
            assert str(path) in error.message
        else:
            assert all(str(path) in one.message for one in found if isinstance(one, Failure))
