"""Selections: sizes, that draws are fixed, groups, shared contents, filters."""

from collections import Counter
from dataclasses import replace

import pytest

from megastyle_cli.benchmark.selection import (
    SPLIT_KEY,
    content_counts,
    keep_where,
    parse_filters,
    select_records,
)
from megastyle_cli.core.errors import MegastyleError
from tests.benchmark.small_bench import SELECTION, grid
from tests.conftest import draw


def styles_of(records):
    return {record["style_id"] for record in records}


def test_each_style_has_its_contents_and_a_quarter_are_queries():
    selected = select_records(grid(), SELECTION)

    assert set(Counter(r["style_id"] for r in selected).values()) == {8}
    assert len({(r["style_id"], r["content_id"]) for r in selected}) == 24
    queries = Counter(r["style_id"] for r in selected if r[SPLIT_KEY] == "query")
    assert len(queries) == 3 and set(queries.values()) == {2}


@pytest.mark.parametrize(("per_style", "queries", "expected"), [(3, None, 1), (8, 5, 5)])
def test_the_number_of_queries(per_style, queries, expected):
    selected = select_records(grid(), replace(SELECTION, per_style=per_style, queries=queries))

    found = Counter(r["style_id"] for r in selected if r[SPLIT_KEY] == "query")
    assert set(found.values()) == {expected} and len(found) == 3


def test_queries_must_leave_a_gallery():
    with pytest.raises(MegastyleError, match="--queries 8 leaves no gallery"):
        select_records(grid(), replace(SELECTION, queries=8))


def test_all_styles_have_the_same_contents_where_they_can():
    selected = select_records(grid(), SELECTION)

    counts = content_counts(selected, "style_id", "content_id")
    assert counts == {"distinct": 8, "in_all_styles": 8, "fewest_styles": 3}


def test_the_order_of_records_does_not_change_the_selection():
    assert select_records(reversed(grid()), SELECTION) == select_records(grid(), SELECTION)


def test_styles_that_are_not_drawn_change_nothing():
    drawn = select_records(grid(12), SELECTION)

    rest = [r for r in grid(12) if r["style_id"] not in sorted(styles_of(drawn))]
    for missing in sorted(styles_of(rest)):
        fewer = [r for r in grid(12) if r["style_id"] != missing]
        assert select_records(fewer, SELECTION) == drawn


def test_of_several_images_the_lowest_pixel_hash_counts_whatever_their_ids(tmp_path):
    several = []
    for number, record in enumerate(grid(3, 8)):
        for copy in range(2):
            path = tmp_path / f"{number}-{copy}.png"
            draw(2 * number + copy, 8, 8).save(path)
            several.append({**record, "id": f"{copy}{number}", "file_name": str(path)})
    renamed = [{**r, "id": f"{9 - int(r['id'][0])}{r['id'][1:]}"} for r in several]

    names = [r["file_name"] for r in select_records(several, SELECTION)]

    assert [r["file_name"] for r in select_records(renamed, SELECTION)] == names
    assert len({name[-5] for name in names}) == 2


@pytest.mark.parametrize("key", ["style_id", "content_id", "file_name"])
def test_records_without_style_content_or_image_are_not_selected(key):
    incomplete = [{**record, key: None} for record in grid(5, 20)[10:]]

    with pytest.raises(MegastyleError, match="1 of"):
        select_records([*grid(1), *incomplete], SELECTION)


def test_records_without_contents_are_told_by_the_key():
    with pytest.raises(MegastyleError, match=r"no record has a content \(subject\)"):
        select_records(grid(), replace(SELECTION, content_label="subject"))


def test_another_seed_selects_other_records():
    assert select_records(grid(), replace(SELECTION, seed=2)) != select_records(grid(), SELECTION)


def test_too_few_styles_are_reported_with_the_numbers():
    with pytest.raises(
        MegastyleError, match=r"2 of 5 styles .* have at least 8 contents .* --styles is 3"
    ):
        select_records([*grid(2), *grid(5, 7)], SELECTION)


def grouped(styles):
    return [{**r, "design": f"d{int(r['style_id'][1:]) // 2}"} for r in grid(styles)]


def test_one_style_of_a_group_is_drawn():
    one = replace(SELECTION, group="design", one_per_group=True)

    selected = select_records(grouped(6), one)

    assert len(styles_of(selected)) == 3 and len({r["design"] for r in selected}) == 3
    with pytest.raises(MegastyleError, match=r"2 of 4 groups \(design\)"):
        select_records(grouped(4), one)


def test_a_style_of_two_groups_is_refused():
    mixed = [{**r, "design": r["content_id"]} for r in grid()]

    with pytest.raises(MegastyleError, match=r"style s\d is in 10 groups \(design\): c0, c1, c2"):
        select_records(mixed, replace(SELECTION, group="design"))


def sparse():
    """Six styles; three of them lack a content each, and all have six contents in common."""
    return [r for r in grid(6) if (int(r["style_id"][1:]), r["content_id"]) not in LACKING]


LACKING = {(0, "c0"), (0, "c1"), (1, "c2"), (1, "c3"), (2, "c0"), (2, "c3")}


def test_shared_contents_are_the_same_for_all_styles():
    shared = replace(SELECTION, styles=5, per_style=6, shared_contents=True)

    selected = select_records(sparse(), shared)

    counts = content_counts(selected, "style_id", "content_id")
    assert counts == {"distinct": 6, "in_all_styles": 6, "fewest_styles": 5}


def test_styles_that_are_not_drawn_do_not_change_shared_contents():
    shared = replace(SELECTION, styles=3, per_style=5, shared_contents=True)
    drawn = select_records(sparse(), shared)
    lists = {style: ["c0", "c1", "c2", "x0", "x1", "x2"] for style in ("new 1", "new 2", "new 3")}
    others = [
        {**grid()[0], "id": f"{style} {content}", "style_id": style, "content_id": content}
        for style, contents in lists.items()
        for content in contents
    ]

    more = select_records([*others, *sparse()], shared)

    assert styles_of(more).isdisjoint(lists) and more == drawn


def test_where_few_styles_share_contents_the_commonest_are_taken_and_it_says_so(caplog):
    """Each style has four of six contents; only a choice of the commonest finds three styles."""
    owned = {"s0": "abcd", "s1": "abef", "s2": "abce", "s3": "cdef", "s4": "abdf"}
    records = [
        {**grid()[0], "id": f"{style} {content}", "style_id": style, "content_id": content}
        for style, contents in owned.items()
        for content in contents
    ]
    shared = replace(SELECTION, styles=4, per_style=2, queries=1, shared_contents=True)

    found = {
        seed: {r["content_id"] for r in select_records(records, replace(shared, seed=seed))}
        for seed in range(12)
    }

    assert all(contents == {"a", "b"} for contents in found.values())
    assert "those that most styles have are taken" in caplog.text


def test_too_few_styles_that_share_contents_are_counted():
    with pytest.raises(MegastyleError, match=r"[34] styles share 8 contents .* --styles is 5"):
        select_records(sparse(), replace(SELECTION, styles=5, shared_contents=True))


def test_filters_keep_any_of_the_values_of_every_key():
    records = [{"kind": kind, "license": 1.0 * number} for kind in "ab" for number in range(3)]

    kept = list(keep_where(records, parse_filters(["license=1", "license=2", "kind=a"])))

    assert kept == [{"kind": "a", "license": 1.0}, {"kind": "a", "license": 2.0}]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["license"], "--where is 'license', not KEY=VALUE"),
        (["license=GPL", "kind=x", "kind=y"], "none of 50 records has license=GPL and kind=x or y"),
    ],
)
def test_filters_that_keep_nothing_are_refused(filters, message):
    with pytest.raises(MegastyleError, match=message):
        list(keep_where(grid(), parse_filters(filters)))
