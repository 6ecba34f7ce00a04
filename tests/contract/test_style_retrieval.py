"""The StyleRetrieval recipe: styles, gate and check of the released prompts do what they say."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.models.registry import load
from tests.contract.tree import ROOT

FOLDER = ROOT / "examples" / "style_retrieval"
NAMES = ("ink wash", "oil impasto", "woodcut", "pastel")


@pytest.fixture(scope="module")
def styles():
    return runpy.run_path(str(FOLDER / "styles.py"))


def gallery():
    """Prompts of four overall styles: 6 of the first, 5 of the next, and so on."""
    colors = ("blue", "red", "ochre", "green", "violet", "black")
    return [
        {"id": f"{number}{color}", "style": f"In the style of {name}, {color} on paper."}
        for number, name in enumerate(NAMES)
        for color in colors[: len(colors) - number]
    ]


def test_overall_styles_are_ranked_by_their_prompts(styles):
    embedder = load("text_embedder", "builtin")

    drawn = list(styles["draw"](gallery()[::-1], 3, 2, 0, embedder))

    assert [row["overall_style"] for row in drawn] == [n for n in NAMES[:3] for _ in range(2)]
    assert len({row["style"] for row in drawn}) == 6
    assert drawn == list(styles["draw"](gallery(), 3, 2, 0, embedder))
    with pytest.raises(SystemExit, match="2 overall styles have 5 prompts, not 3"):
        list(styles["draw"](gallery(), 3, 5, 0, embedder))


def test_prompts_of_an_overall_style_lie_far_apart(styles):
    angles = np.radians([0, 1, 2, 88, 90, 45])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)

    assert styles["farthest_first"](vectors, 3, 0) == [0, 4, 5]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"style": "In the style of  Ink Wash, blue."}, "ink wash"),
        ({"style": "With outlines. In the style of woodcut, red."}, "woodcut"),
        ({"style": "x", "style_identity": "Pastel"}, "pastel"),
        ({"style": "blue ink"}, ""),
        ({}, ""),
    ],
)
def test_the_overall_style_is_the_identity_or_what_the_prompt_names(styles, record, name):
    assert styles["overall_style"](record) == name


def test_a_style_whose_pictures_differ_as_strangers_do_is_below_the_bound():
    spread = runpy.run_path(str(FOLDER / "gate.py"))["spread"]
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(20, 32))
    vectors = (centers[:, None] + 0.3 * rng.normal(size=(20, 4, 32))).reshape(-1, 32)
    vectors[:4] = rng.normal(size=(4, 32))  # the first style is no style
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    within, bound = spread(vectors, [f"s{n // 4:02}" for n in range(80)])

    assert [style for style, mean in within.items() if mean < bound] == ["s00"]


def test_contents_are_four_of_each_of_eight_classes():
    rows = [json.loads(line) for line in (FOLDER / "contents.jsonl").read_text().splitlines()]

    classes = [row["content_class"] for row in rows]
    assert len({row["content"] for row in rows}) == 32
    assert all(classes.count(name) == 4 for name in set(classes)) and len(set(classes)) == 8
    assert all(5 <= len(row["content"].split()) <= 9 for row in rows)


def test_gaps_in_the_ids_of_released_styles_are_found(tmp_path: Path):
    rows = [
        {"id": f"s{number}_c{content}", "style": f"In the style of {name} , red."}
        for number, name in ((1, "Ink Wash"), (2, "ink wash"), (6, "woodcut"), (7, "woodcut"))
        for content in range(2)
    ]
    (tmp_path / "v1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    more = {"overall artistic style": "Linocut"}
    (tmp_path / "plus.jsonl").write_text(json.dumps(more) + "\n")

    command = [sys.executable, str(FOLDER / "released_styles.py"), "v1.jsonl"]
    ended = subprocess.run(
        [*command, "--plus-plus", "plus.jsonl"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )

    assert "overall styles, as written: 3" in ended.stdout
    assert "overall styles, lower case, stripped: 2" in ended.stdout
    assert "styles by id: 4, rows of each {2: 4}" in ended.stdout
    assert "missing ids: 3, the longest gap has 3" in ended.stdout
    assert "only in MegaStyle++: 1" in ended.stdout
