"""Benchmarks: what is selected, that the draw is fixed, and that a changed one is refused."""

import json
from collections import Counter
from dataclasses import asdict

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.evaluate.benchmark import (
    SPLIT_KEY,
    build_benchmark,
    check_folder,
    fingerprint,
    read_settings,
    select_records,
    verify_benchmark,
    write_settings,
)
from tests.conftest import draw

SETTINGS = {
    "styles": 3,
    "per_style": 8,
    "seed": 1,
    "label": "style_id",
    "content_label": "content_id",
}


def grid(styles=5, contents=10, folder="."):
    return [
        {
            "id": f"{s}-{c}",
            "style_id": f"s{s}",
            "content_id": f"c{c}",
            "file_name": f"{folder}/{s}-{c}.png",
        }
        for s in range(styles)
        for c in range(contents)
    ]


def test_each_style_has_its_contents_and_a_quarter_are_queries():
    selected = select_records(grid(), **SETTINGS)

    assert set(Counter(r["style_id"] for r in selected).values()) == {8}
    assert len({(r["style_id"], r["content_id"]) for r in selected}) == 24
    queries = Counter(r["style_id"] for r in selected if r[SPLIT_KEY] == "query")
    assert len(queries) == 3 and set(queries.values()) == {2}


def test_a_style_of_few_contents_still_has_a_query():
    selected = select_records(grid(), **{**SETTINGS, "per_style": 3})

    queries = Counter(r["style_id"] for r in selected if r[SPLIT_KEY] == "query")
    assert set(queries.values()) == {1} and len(queries) == 3


def test_all_styles_have_the_same_contents_where_they_can():
    assert len({record["content_id"] for record in select_records(grid(), **SETTINGS)}) == 8


def test_neither_order_nor_a_second_image_changes_the_selection():
    more = [{**record, "id": f"z{record['id']}"} for record in grid()]

    selected = select_records([*more, *reversed(grid())], **SETTINGS)

    assert selected == select_records(grid(), **SETTINGS)


@pytest.mark.parametrize("key", ["style_id", "content_id", "file_name"])
def test_records_without_style_content_or_image_are_not_selected(key):
    incomplete = [{**record, key: None} for record in grid(5, 20)[10:]]

    with pytest.raises(MegastyleError, match="1 of"):
        select_records([*grid(1), *incomplete], **SETTINGS)


def test_another_seed_selects_other_records():
    assert select_records(grid(), **{**SETTINGS, "seed": 2}) != select_records(grid(), **SETTINGS)


def test_too_few_styles_are_reported_with_the_numbers():
    with pytest.raises(
        MegastyleError, match=r"2 of 5 styles .* have at least 8 contents .* --styles is 3"
    ):
        select_records([*grid(2), *grid(5, 7)], **SETTINGS)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    records = grid(folder=folder)
    for number, record in enumerate(records):
        draw(number, 16, 16).save(record["file_name"])
    return build_benchmark(select_records(records, **SETTINGS), SETTINGS, "run")


def test_an_unchanged_benchmark_is_accepted_in_any_order(built):
    rows, settings = built

    verify_benchmark(list(reversed(rows)), settings, "bench")
    assert (settings.queries, settings.gallery) == (6, 18)


@pytest.mark.parametrize("key", ["id", "style_id", "content_id", SPLIT_KEY])
def test_a_changed_row_is_refused(built, key):
    rows, settings = built

    with pytest.raises(MegastyleError, match="other rows"):
        verify_benchmark([{**rows[0], key: "x"}, *rows[1:]], settings, "bench")


def test_a_missing_row_is_refused_with_both_numbers(built):
    rows, settings = built

    with pytest.raises(MegastyleError, match="23 records, but was created with 24"):
        verify_benchmark(rows[1:], settings, "bench")


def test_a_changed_image_is_refused_by_name(built, tmp_path):
    rows, settings = built
    changed = tmp_path / "changed.png"
    draw(99, 16, 16).save(changed)

    with pytest.raises(MegastyleError, match=f"{changed} has changed since bench was created"):
        verify_benchmark(
            [*rows[:3], {**rows[3], "file_name": str(changed)}, *rows[4:]], settings, "bench"
        )


def test_an_image_that_is_gone_is_refused(built, tmp_path):
    rows, settings = built
    gone = {**rows[0], "file_name": str(tmp_path / "gone.png")}

    with pytest.raises(MegastyleError, match=r"gone\.png"):
        verify_benchmark([gone, *rows[1:]], settings, "bench")
    with pytest.raises(MegastyleError, match=r"gone\.png"):
        build_benchmark([gone], SETTINGS, "run")


def test_other_keys_do_not_change_the_hash(built):
    rows, settings = built
    more = [{**row, "license": "cc0"} for row in rows]

    assert fingerprint(more, "style_id", "content_id") == settings.hash


def test_settings_are_read_as_they_were_written(built, tmp_path):
    write_settings(tmp_path, built[1])

    assert read_settings(tmp_path) == built[1]


def test_settings_that_are_missing_or_damaged_are_refused(built, tmp_path):
    with pytest.raises(MegastyleError, match="is not a benchmark"):
        read_settings(tmp_path)
    whole = json.dumps(asdict(built[1]))
    for text, message in (
        ("{", "not valid JSON"),
        ("[]", "not a JSON object"),
        ("{}", "styles is None"),
        (whole.replace('"gallery": ', '"gallery": "x", "size": '), "gallery is 'x'"),
        (whole.replace("{", '{"size": 1, '), "not hold the settings"),
    ):
        (tmp_path / "benchmark.json").write_text(text)
        with pytest.raises(MegastyleError, match=message):
            read_settings(tmp_path)


def test_a_data_set_is_not_overwritten_by_a_benchmark(built, tmp_path):
    check_folder(tmp_path)
    (tmp_path / "metadata.jsonl").touch()
    with pytest.raises(MegastyleError, match="already holds images"):
        check_folder(tmp_path)

    write_settings(tmp_path, built[1])

    check_folder(tmp_path)
