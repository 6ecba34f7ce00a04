"""Draws depend on the style alone and are uniform; a pair says what its parents said."""

import json
from collections import Counter

import pytest

from megastyle_cli.errors import BadRecord
from megastyle_cli.steps.pair import (
    Coverage,
    check_content,
    check_style,
    coverage,
    distinct_rows,
    draw_contents,
    pair_all,
    pair_record,
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


def test_a_pair_has_the_style_of_one_parent_and_the_content_of_the_other():
    pair = pair_record(STYLE, CONTENT, draw=5, run="0b7d44e9")

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
            "pair": {"run": "0b7d44e9", "draw": 5},
        },
    }
    assert list(pair)[:5] == ["id", "style_id", "content_id", "style", "content"]


def test_parents_are_left_as_they_were():
    before = json.dumps([STYLE, CONTENT])

    pair_record(STYLE, CONTENT, draw=0)["_megastyle"]["pair"]["draw"] = 9

    assert json.dumps([STYLE, CONTENT]) == before


def test_what_a_parent_does_not_have_is_absent_and_never_taken_from_the_other():
    pair = pair_record({"id": "a", "file_name": "a.png", "content": "stale"}, {"id": "b"}, draw=0)

    assert pair == {
        "id": "sa_cb",
        "style_id": "a",
        "content_id": "b",
        "style_file_name": "a.png",
        "_megastyle": {"pair": {"draw": 0}},
    }


def test_a_pair_made_of_pairs_names_its_own_parents_and_pictures():
    first = pair_record(STYLE, CONTENT, draw=0)

    second = pair_record(first, first, draw=1)

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
def test_a_parent_needs_words_or_a_picture(check, good, bad):
    for record in good:
        check(record)
    for record in bad:
        with pytest.raises(BadRecord) as caught:
            check(record)
        assert caught.value.kind == "missing_key"


def test_a_draw_is_of_different_contents_and_of_all_if_they_are_few():
    rows = draw_contents("style", 1000, 8, seed=0)

    assert len(set(rows)) == 8
    assert all(0 <= row < 1000 for row in rows)
    assert sorted(draw_contents("style", 5, 8, seed=0)) == [0, 1, 2, 3, 4]
    assert draw_contents("style", 0, 8, seed=0) == []


def test_a_draw_is_set_by_seed_and_style_alone():
    draws = {style: draw_contents(style, 400, 8, seed=0) for style in ("a", "b", "\ud800")}

    assert draws["a"] == draw_contents("a", 400, 8, seed=0)
    assert draws["a"] != draws["b"]
    assert draws["a"] != draw_contents("a", 400, 8, seed=1)
    assert draw_contents("12", 400, 8, seed=1) != draw_contents("2", 400, 8, seed=11)


def test_contents_are_drawn_uniformly_at_every_place():
    drawn = [draw_contents(f"style {i}", 20, 4, seed=3) for i in range(5000)]

    for place in range(4):
        uses = Counter(rows[place] for rows in drawn)
        # chi-square of 20 cells: 19 on average, above 50 once in 8,000 times
        assert sum((uses[row] - 250) ** 2 / 250 for row in range(20)) < 50


def test_ids_that_come_again_count_once_and_the_first_stands():
    assert distinct_rows(["a", "b", "a", "c", "b"]) == [0, 1, 3]
    assert distinct_rows([]) == []


def test_every_style_gets_its_own_contents_whatever_other_styles_there_are():
    styles = [{"id": f"s{i}", "style": "x"} for i in range(6)]
    contents = [{"id": f"c{i}", "content": "y"} for i in range(30)]
    told: list[str] = []
    options = {"per_style": 4, "seed": 0, "facts": {"run": "0b7d44e9"}, "remark": told.append}

    pairs = list(pair_all(styles, contents, **options))
    some = list(pair_all(styles[::-2], contents, **options))

    assert [pair["style_id"] for pair in pairs] == [f"s{i}" for i in range(6) for _ in range(4)]
    assert len({pair["id"] for pair in pairs}) == 24
    assert all(pair in pairs for pair in some)
    assert len(told) == 2
    assert "of 30 contents used" in told[0]


def test_too_few_contents_are_all_used_and_said():
    told: list[str] = []
    options = {"per_style": 8, "seed": 0, "facts": {}, "remark": told.append}

    pairs = list(pair_all([{"id": "a"}], [{"id": "b", "content": "y"}], **options))

    assert [pair["id"] for pair in pairs] == ["sa_cb"]
    assert "only 1 contents for 8 a style" in told[0]


def test_coverage_counts_contents_used_and_the_most_used():
    assert coverage([0, 3, 1, 0]) == Coverage(pairs=4, contents=4, contents_used=2, most_uses=3)
    assert coverage([]) == Coverage(pairs=0, contents=0, contents_used=0, most_uses=0)
