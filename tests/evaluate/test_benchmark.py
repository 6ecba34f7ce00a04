"""The benchmark: what is chosen, that the draw is fixed, and that a changed one is refused."""

from collections import Counter

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import bytes_id
from megastyle_cli.evaluate.benchmark import SPLIT_KEY, choose, fingerprint, sealed, verify

SIZE = {"styles": 3, "per_style": 8, "seed": 1, "label": "style_id", "content_label": "content_id"}


def grid(styles=5, contents=10):
    return [
        {"id": f"{s}-{c}", "style_id": f"s{s}", "content_id": f"c{c}", "file_name": f"{s}/{c}"}
        for s in range(styles)
        for c in range(contents)
    ]


def picture_id(name):
    return bytes_id(name.encode())


def test_the_choice_is_styles_by_contents_with_a_quarter_asking():
    chosen = choose(grid(), **SIZE)

    assert set(Counter(r["style_id"] for r in chosen).values()) == {8}
    assert len({(r["style_id"], r["content_id"]) for r in chosen}) == 24
    asking = Counter(r["style_id"] for r in chosen if r[SPLIT_KEY] == "query")
    assert len(asking) == 3 and set(asking.values()) == {2}


def test_all_styles_have_the_same_contents_where_they_can():
    assert len({record["content_id"] for record in choose(grid(), **SIZE)}) == 8


def test_neither_order_nor_a_second_picture_changes_the_choice():
    more = [{**record, "id": f"z{record['id']}"} for record in grid()]

    assert choose([*more, *reversed(grid())], **SIZE) == choose(grid(), **SIZE)


def test_another_seed_chooses_otherwise():
    assert choose(grid(), **{**SIZE, "seed": 2}) != choose(grid(), **SIZE)


def test_too_few_styles_are_said_with_the_numbers():
    with pytest.raises(MegastyleError, match=r"2 of 5 styles .* have 8 contents .* 3 are asked"):
        choose([*grid(2), *grid(5, 7)], **SIZE)


@pytest.fixture
def made():
    return sealed(choose(grid(), **SIZE), picture_id, SIZE, "run")


def test_a_benchmark_as_it_was_made_is_accepted_in_any_order(made):
    rows, settings = made

    verify(list(reversed(rows)), settings, picture_id, "bench")
    assert (settings.queries, settings.gallery) == (6, 18)


@pytest.mark.parametrize("key", ["id", "style_id", "content_id", SPLIT_KEY])
def test_a_changed_row_is_refused(made, key):
    rows, settings = made

    with pytest.raises(MegastyleError, match="other rows"):
        verify([{**rows[0], key: "x"}, *rows[1:]], settings, picture_id, "bench")


def test_a_missing_row_is_refused_with_both_numbers(made):
    rows, settings = made

    with pytest.raises(MegastyleError, match="23 records and was made of 24"):
        verify(rows[1:], settings, picture_id, "bench")


def test_a_changed_picture_is_refused_by_name(made):
    rows, settings = made
    changed = rows[3]["file_name"]

    with pytest.raises(MegastyleError, match=f"{changed} has changed"):
        verify(rows, settings, lambda n: "0" if n == changed else picture_id(n), "bench")


def test_keys_that_are_no_part_of_it_do_not_change_the_hash(made):
    rows, settings = made
    more = [{**row, "license": "cc0"} for row in rows]

    assert fingerprint(more, "style_id", "content_id") == settings.hash
