"""The pictures of a benchmark: copied, credited, and deleted when nothing names them."""

from pathlib import Path

import pytest

from megastyle_cli.benchmark.pictures import (
    attribution,
    copy_pictures,
    count_licenses,
    drop_others,
)
from megastyle_cli.core.errors import MegastyleError
from tests.benchmark.small_bench import drawn, grid


def test_pictures_are_copied_as_they_are_and_their_hashes_noted(tmp_path):
    (tmp_path / "a").mkdir()
    records = drawn(tmp_path / "a", 2, 3, style_file_name="elsewhere.png", neighbors=[])

    rows = copy_pictures(records, tmp_path / "b", "run")

    for record, row in zip(records, rows, strict=True):
        assert Path(row["file_name"]).read_bytes() == Path(record["file_name"]).read_bytes()
        pixels = row["_megastyle"]["eval"]["pixels"]
        assert Path(row["file_name"]) == tmp_path / f"b/images/{pixels[:2]}/{pixels[:24]}.png"
        assert "style_file_name" not in row and "neighbors" not in row
    assert len({row["file_name"] for row in rows}) == 6


def test_equal_pictures_are_stored_once(tmp_path):
    record = drawn(tmp_path, 1, 1)[0]

    rows = copy_pictures([record, {**record, "id": "2"}], tmp_path / "b", "run")

    assert rows[0]["file_name"] == rows[1]["file_name"]


def test_a_picture_that_is_gone_is_named_and_leaves_nothing(tmp_path):
    records = drawn(tmp_path, 1, 2)
    Path(records[1]["file_name"]).unlink()

    with pytest.raises(MegastyleError, match=r"0-1\.png"):
        copy_pictures(records, tmp_path / "b", "run")

    assert not list((tmp_path / "b").rglob("*.png"))


def test_pictures_of_an_earlier_benchmark_are_deleted(tmp_path):
    rows = copy_pictures(drawn(tmp_path, 1, 3), tmp_path / "b", "run")

    drop_others(rows[:2], tmp_path / "b")

    assert {str(p) for p in (tmp_path / "b").rglob("*.png")} == {r["file_name"] for r in rows[:2]}


def test_licences_are_counted_and_sources_credited():
    records = [
        *grid(1, 2, license="MIT", source="set:a", author="Ann"),
        *grid(2, 1, license="CC0", source="set:b"),
        *grid(1, 1),
    ]

    assert count_licenses(records) == {"CC0": 2, "MIT": 2, "not stated": 1}
    assert attribution(records, "style_id") == (
        "# Attribution\n"
        "\n## CC0\n\nPictures: 2\n\n- s0: set:b\n- s1: set:b\n"
        "\n## MIT\n\nPictures: 2\n\n- s0: Ann, set:a\n"
        "\n## not stated\n\nPictures: 1\n\n- s0: source not stated\n"
    )
