"""Draws are uniform and depend on the style alone; a pair has the values of its parents."""

import json
from collections import Counter

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.pair.pair import (
    check_content,
    check_style,
    content_usage,
    describe_draws,
    distinct_ids,
    draw_all,
    fingerprint,
    pair_all,
)

STYLE = {
    "id": "a1",
    "file_name": "imgs/1.jpg",
    "license": "cc0",
    "style": "In the style of collage, teal.",
    "content": "what the style picture shows",
    "style_colors": "teal",
    "cluster": 4,
    "cluster_2": 1,
    "_megastyle": {"caption": {"run": "8f3c2a1d"}},
}
CONTENT = {
    "id": "b2",
    "file_name": "imgs/2.jpg",
    "license": "cc-by",
    "style": "In the style of photography.",
    "content": "Frog on a leaf",
    "style_colors": "green",
    "cluster": 9,
    "row": 3,
    "_megastyle": {"caption": {"run": "11111111"}},
}


def draw_contents(style_id: str, num_contents: int, per_style: int, seed: int) -> list[int]:
    return draw_all([style_id], num_contents, per_style, seed)[0].tolist()


def pair_record(style: dict, content: dict, **metadata: str) -> dict:
    (pair,) = pair_all([style], [content], np.array([[0]]), metadata=metadata)
    return pair


def test_a_pair_has_the_style_of_one_parent_and_the_content_of_the_other():
    pair = pair_record(STYLE, CONTENT, run="0b7d44e9")

    assert pair == {
        "id": "sa1_cb2",
        "style_id": "a1",
        "content_id": "b2",
        "style": "In the style of collage, teal.",
        "content": "Frog on a leaf",
        "style_colors": "teal",
        "style_file_name": "imgs/1.jpg",
        "content_file_name": "imgs/2.jpg",
        "license": "cc0",
        "cluster": 4,
        "cluster_2": 1,
        "content_license": "cc-by",
        "content_cluster": 9,
        "content_row": 3,
        "_megastyle": {
            "style": {"caption": {"run": "8f3c2a1d"}},
            "content": {"caption": {"run": "11111111"}},
            "pair": {"run": "0b7d44e9", "draw": 0},
        },
    }
    assert list(pair)[:5] == ["id", "style_id", "content_id", "style", "content"]


def test_parents_are_not_changed():
    before = json.dumps([STYLE, CONTENT])

    pair_record(STYLE, CONTENT)["_megastyle"]["pair"]["draw"] = 9

    assert json.dumps([STYLE, CONTENT]) == before


def test_a_value_that_a_parent_lacks_is_absent_and_never_taken_from_the_other():
    pair = pair_record({"id": "a", "file_name": "a.png", "content": "stale"}, {"id": "b"})

    assert pair == {
        "id": "sa_cb",
        "style_id": "a",
        "content_id": "b",
        "style_file_name": "a.png",
        "_megastyle": {"pair": {"draw": 0}},
    }


def test_a_pair_made_of_pairs_names_its_own_parents_and_their_images():
    first = pair_record(STYLE, CONTENT)

    second = pair_record(first, first)

    assert (second["style_id"], second["content_id"]) == ("sa1_cb2", "sa1_cb2")
    assert second["style_file_name"] == "imgs/1.jpg"
    assert second["content_file_name"] == "imgs/2.jpg"
    assert second["style_colors"] == "teal"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (check_style, [{"style": "x"}, {"file_name": "x"}], [{}, {"style": " "}, {"style": 3}]),
        (check_content, [{"content": "x"}, {"file_name": "x"}], [{}, {"content": None}]),
    ],
)
def test_a_parent_needs_a_text_or_an_image(check, good, bad):
    for record in good:
        check(record)
    for record in bad:
        with pytest.raises(BadRecord) as caught:
            check(record)
        assert caught.value.kind == "missing_key"


def test_a_draw_has_different_contents_and_all_of_them_if_there_are_few():
    rows = draw_contents("style", 1000, 8, seed=0)

    assert len(set(rows)) == 8
    assert all(0 <= row < 1000 for row in rows)
    assert sorted(draw_contents("style", 5, 8, seed=0)) == [0, 1, 2, 3, 4]
    assert draw_contents("style", 0, 8, seed=0) == []


def test_a_draw_depends_on_seed_and_style_alone():
    draws = {style: draw_contents(style, 400, 8, seed=0) for style in ("a", "b", "\ud800")}

    assert draws["a"] == draw_contents("a", 400, 8, seed=0)
    assert draws["a"] != draws["b"]
    assert draws["a"] != draw_contents("a", 400, 8, seed=1)
    assert draw_contents("12", 400, 8, seed=1) != draw_contents("2", 400, 8, seed=11)


def test_contents_are_drawn_uniformly_at_every_position():
    drawn = [draw_contents(f"style {i}", 20, 4, seed=3) for i in range(5000)]

    for position in range(4):
        uses = Counter(rows[position] for rows in drawn)
        # chi-square with 19 degrees of freedom exceeds 50 once in 8,000 times
        assert sum((uses[row] - 250) ** 2 / 250 for row in range(20)) < 50


def own_ids(*records):
    return distinct_ids([r["id"] for r in records], lambda rows: [records[row] for row in rows])


def test_different_records_with_one_id_are_told_apart():
    one, other = {"id": "0", "style": "ink"}, {"id": "0", "style": "oil"}
    taken = {"id": "0_1", "style": "chalk"}

    assert own_ids(one, taken, other) == {0: "0", 1: "0_1", 2: "0_2"}
    assert own_ids(one, other, one, other) == {0: "0", 1: "0_1"}
    assert own_ids() == {}


def test_a_picture_under_two_names_is_one_record():
    copy = {"id": "9f2c41d07be8a310", "style": "ink"}

    assert own_ids({**copy, "file_name": "a.png"}, {**copy, "file_name": "b.png"}) == {
        0: copy["id"]
    }
    assert own_ids({"id": "0", "file_name": "a.png"}, {"id": "0", "file_name": "b.png"}) == {
        0: "0",
        1: "0_1",
    }


def test_the_contents_of_a_style_do_not_depend_on_other_styles():
    styles = [{"id": f"s{i}", "style": "x"} for i in range(6)]
    contents = [{"id": f"c{i}", "content": "y"} for i in range(30)]
    metadata = {"run": "0b7d44e9"}
    draws = draw_all([style["id"] for style in styles], 30, 4, seed=0)
    fewer = draw_all([style["id"] for style in styles[::-2]], 30, 4, seed=0)

    pairs = list(pair_all(styles, contents, draws, metadata=metadata))
    some = list(pair_all(styles[::-2], contents, fewer, metadata=metadata))

    assert [pair["style_id"] for pair in pairs] == [f"s{i}" for i in range(6) for _ in range(4)]
    assert len({pair["id"] for pair in pairs}) == 24
    assert all(pair in pairs for pair in some)


def test_official_ids_are_numbers_from_one_and_the_provenance_has_the_ids_of_the_parents():
    styles = [{"id": "a", "style": "x"}, {"id": "b", "style": "x"}]
    contents = [{"id": "p", "content": "y"}, {"id": "q", "content": "y"}]

    pairs = list(pair_all(styles, contents, np.array([[1], [0]]), ids="official", metadata={}))

    assert [pair["id"] for pair in pairs] == ["s1_c2", "s2_c1"]
    assert (pairs[0]["style_id"], pairs[0]["content_id"]) == ("1", "2")
    assert pairs[0]["_megastyle"]["pair"] == {"draw": 0, "style_id": "a", "content_id": "q"}


def test_too_few_contents_are_all_used_and_reported():
    draws = draw_all(["a"], 1, 8, seed=0)

    assert draws.tolist() == [[0]]
    assert "only 1 contents for 8 per style" in describe_draws(draws, 1, 8)[0]


@pytest.mark.parametrize(
    ("styles", "contents", "each", "most"), [(50, 100, 8, 4), (30, 40, 8, 6), (12, 8, 8, 12)]
)
def test_no_content_is_used_more_often_than_allowed_even_if_all_uses_are_needed(
    styles, contents, each, most
):
    names = [f"s{i}" for i in range(styles)]

    draws = draw_all(names, contents, each, seed=0, max_uses=most)

    assert np.bincount(draws.ravel()).max() <= most
    assert all(len(set(rows)) == each for rows in draws.tolist())
    assert np.array_equal(draws, draw_all(names, contents, each, seed=0, max_uses=most))


def test_a_limit_that_is_not_reached_changes_no_draw():
    names = [f"s{i}" for i in range(40)]

    assert np.array_equal(
        draw_all(names, 60, 4, seed=0, max_uses=40), draw_all(names, 60, 4, seed=0)
    )


def test_a_limit_that_is_too_low_is_refused_with_the_least_that_suffices():
    with pytest.raises(MegastyleError, match="need 80 uses") as caught:
        draw_all([f"s{i}" for i in range(10)], 20, 8, seed=0, max_uses=3)

    assert "--max-uses 4" in str(caught.value.hint)


def test_usage_counts_contents_and_how_evenly_they_are_used():
    found = content_usage(np.array([[1, 2], [1, 3]]), 4)

    assert (found.pairs, found.contents, found.contents_used) == (4, 4, 3)
    assert (found.least_uses, found.most_uses) == (0, 2)
    assert found.evenness == pytest.approx(1.5 / 2)
    assert content_usage(np.zeros((0, 8), np.int32), 5).contents_used == 0
    assert content_usage(np.array([[0, 1], [2, 3]]), 4).evenness == pytest.approx(1.0)


def test_the_fingerprint_identifies_the_contents() -> None:
    contents = [{"id": "a", "content": "A fox"}, {"id": "b", "content": "A cat"}]

    known = fingerprint(contents)

    assert fingerprint([dict(content) for content in contents]) == known
    for others in (contents[:1], contents[::-1], [contents[0], {"id": "b", "content": "A dog"}]):
        assert fingerprint(others) != known
