"""Benchmark folders: moved, re-encoded, changed; settings of other versions."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from megastyle_cli.benchmark.folder import (
    check_folder,
    open_benchmark,
    read_settings,
    seal,
    verify_benchmark,
    write_settings,
)
from megastyle_cli.benchmark.pictures import copy_pictures
from megastyle_cli.benchmark.selection import SPLIT_KEY, select_records
from megastyle_cli.core.errors import MegastyleError
from tests.benchmark.small_bench import SELECTION, drawn, make
from tests.conftest import draw, jsonl


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    return drawn(tmp_path_factory.mktemp("images"), license="CC0", design="d")


@pytest.fixture
def built(tmp_path, records):
    return make(tmp_path / "bench", records)


def test_an_unchanged_benchmark_is_accepted_in_any_order(built):
    rows, settings = built

    verify_benchmark(list(reversed(rows)), settings, "bench")
    assert (settings.queries, settings.gallery) == (6, 18)
    assert settings.licenses == {"CC0": 24}
    assert settings.contents == {"distinct": 8, "in_all_styles": 8, "fewest_styles": 3}


def test_a_moved_folder_is_accepted(built, tmp_path):
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    moved = (tmp_path / "bench").rename(tmp_path / "deeper" / "still" / "moved")

    settings, rows = open_benchmark(moved)

    assert settings == built[1]
    assert all(str(moved) in row["file_name"] for row in rows)


def test_pictures_saved_again_with_equal_pixels_give_the_same_seal(built, records, tmp_path):
    again = []
    for record in records:
        path = tmp_path / f"{record['id']}.png"
        Image.open(record["file_name"]).save(path, compress_level=9)
        again.append({**record, "id": f"x{record['id']}", "file_name": str(path)})

    rows, settings = make(tmp_path / "second", again)

    assert settings == built[1]
    bytes_noted = [r["_megastyle"]["eval"]["picture"] for r in rows]
    assert bytes_noted != [r["_megastyle"]["eval"]["picture"] for r in built[0]]


def test_a_picture_saved_again_inside_is_accepted(built):
    rows, settings = built
    with Image.open(rows[0]["file_name"]) as image:
        image.save(rows[0]["file_name"], compress_level=9)

    verify_benchmark(rows, settings, "bench")


@pytest.mark.parametrize("key", ["style_id", "content_id", "design", SPLIT_KEY])
def test_a_changed_row_is_refused(records, tmp_path, key):
    rows, settings = make(tmp_path / "b", records, replace(SELECTION, group="design"))

    with pytest.raises(MegastyleError, match="other rows"):
        verify_benchmark([{**rows[0], key: "x"}, *rows[1:]], settings, "bench")


def test_other_keys_do_not_change_the_seal(built):
    rows, settings = built
    more = [{**row, "id": "x", "license": "MIT"} for row in rows]

    assert seal(more, SELECTION, {}).hash == settings.hash


def test_a_missing_row_is_refused_with_both_numbers(built):
    rows, settings = built

    with pytest.raises(MegastyleError, match="23 records, but was created with 24"):
        verify_benchmark(rows[1:], settings, "bench")


def test_a_changed_picture_is_refused_by_name(built):
    rows, settings = built
    draw(99, 16, 16).save(rows[3]["file_name"])

    with pytest.raises(
        MegastyleError, match=f"{rows[3]['file_name']} has changed since bench was created"
    ):
        verify_benchmark(rows, settings, "bench")


def test_a_picture_that_is_gone_is_refused(built, tmp_path):
    rows, settings = built
    gone = {**rows[0], "file_name": str(tmp_path / "gone.png")}

    with pytest.raises(MegastyleError, match=r"gone\.png"):
        verify_benchmark([gone, *rows[1:]], settings, "bench")


def test_groups_are_counted(records, tmp_path):
    rows = copy_pictures(select_records(records, SELECTION), tmp_path, "run")

    assert seal(rows, replace(SELECTION, group="design"), {}).groups == 1
    assert seal(rows, replace(SELECTION, group="absent"), {}).groups == 3


def test_settings_are_read_as_they_were_written_unknown_keys_included(built, tmp_path):
    more = replace(built[1], other={"tiers": ["grey"]})
    write_settings(tmp_path, more)

    assert read_settings(tmp_path) == more
    assert json.loads((tmp_path / "benchmark.json").read_text())["tiers"] == ["grey"]


def test_a_benchmark_of_version_0_2_is_read_and_checked_by_the_bytes_of_its_pictures(tmp_path):
    """Ids, pictures and hash are those that version 0.2 wrote for these four pixels."""
    pictures = {"10": "23a6bd82a8c2d45e", "11": "236215437695f7ed"}
    pictures |= {"00": "2a596cb5f56179f4", "01": "db663a1805be9d82"}
    rows = []
    for name, picture in pictures.items():
        (tmp_path / f"{name}.ppm").write_bytes(
            b"P6 1 1 255\n" + bytes([100 * int(name[0]), 100 * int(name[1]), 7])
        )
        row = {"id": name, "style_id": f"s{name[0]}", "content_id": f"c{name[1]}"}
        row |= {"file_name": f"{name}.ppm", SPLIT_KEY: "gallery" if name[1] == "1" else "query"}
        rows.append({**row, "_megastyle": {"eval": {"picture": picture}}})
    jsonl(tmp_path / "metadata.jsonl", rows)
    settings = {"styles": 2, "per_style": 2, "seed": 0, "queries": 2, "gallery": 2, "rule": ""}
    settings |= {"label": "style_id", "content_label": "content_id", "hash": "d060e9f0bbcc29de"}
    (tmp_path / "benchmark.json").write_text(json.dumps(settings))

    found, read = open_benchmark(tmp_path)

    assert (found.format, found.recipe, len(read)) == (1, 1, 4)
    (tmp_path / "01.ppm").write_bytes(b"P6 1 1 255\n\0\0\0")
    with pytest.raises(MegastyleError, match=r"01\.ppm has changed"):
        open_benchmark(tmp_path)


def test_settings_that_are_missing_or_damaged_are_refused(built, tmp_path):
    with pytest.raises(MegastyleError, match="is not a benchmark"):
        read_settings(tmp_path)
    whole = (tmp_path / "bench" / "benchmark.json").read_text()
    for text, message in (
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "styles is None"),
        (whole.replace('"gallery": ', '"gallery": "x", "size": '), "gallery is 'x'"),
        (whole.replace('"format": 2', '"format": 3'), "of format 3; this version reads 1 to 2"),
        (whole.replace('"format": 2', '"format": "x"'), "of format x"),
    ):
        (tmp_path / "benchmark.json").write_text(text)
        with pytest.raises(MegastyleError, match=message):
            read_settings(tmp_path)


def test_a_data_set_is_not_overwritten_by_a_benchmark(built, tmp_path):
    check_folder(tmp_path)
    jsonl(tmp_path / "metadata.jsonl", [])
    with pytest.raises(MegastyleError, match="already holds images"):
        check_folder(tmp_path)

    write_settings(tmp_path, built[1])

    check_folder(tmp_path)
