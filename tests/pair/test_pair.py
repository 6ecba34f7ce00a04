"""A pair has the values of its parents, under an id made of theirs."""

import json

import numpy as np

from megastyle_cli.pair.draws import draw_all
from megastyle_cli.pair.pair import pair_all

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
