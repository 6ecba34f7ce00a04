"""Candidates and intrusion, on made answers: planted objects are found, chance finds none."""

import numpy as np
import pytest

from megastyle_cli.bias.intrusion import above_floor, candidates, intrusion

CONTROLS = [f"control {n}" for n in range(8)]
CONTENTS = [f"c{n}" for n in range(32)]


def answers(rate, rng):
    """For each content whether an object is seen, with that probability."""
    return {content: {"kimono": bool(rng.random() < rate)} for content in CONTENTS}


def answered(own_rate, control_rate, seed):
    rng = np.random.default_rng(seed)
    return answers(own_rate, rng), {name: answers(control_rate, rng) for name in CONTROLS}


def test_the_objects_beyond_the_controls_are_the_candidates():
    listed = {
        "japanese": {"a": ["kimono", "fan", "fox"], "b": ["kimono", "fox"], "c": ["stone"]},
        "control": {"a": ["fox"], "b": ["fox", "fan"], "c": ["stone"]},
    }

    found = candidates("japanese", listed, ["control"], {"a": "A fox", "b": "two foxes", "c": "x"})

    assert [(each.name, each.share, each.control_share) for each in found] == [
        ("kimono", pytest.approx(2 / 3), 0.0)  # the fan is as frequent there, foxes are mentioned
    ]


def test_an_object_that_a_content_mentions_counts_in_the_other_contents():
    listed = {"x": {"a": ["stone bench"], "b": ["stone bench"]}, "control": {"a": [], "b": []}}

    (found,) = candidates("x", listed, ["control"], {"a": "a cat on a stone bench", "b": "a cat"})

    assert found.share == 0.5


def test_at_most_five_candidates_and_ties_by_name():
    names = list("hgfedcba")
    listed = {"x": {"c1": names}, "control": {"c1": []}}

    assert [each.name for each in candidates("x", listed, ["control"], {})] == list("abcde")


def test_a_list_that_was_refused_is_no_empty_list():
    listed = {"x": {"a": ["fan"], "b": None}, "control": {"a": [], "b": []}}

    (found,) = candidates("x", listed, ["control"], {})

    assert found.share == 1


def test_eight_against_none_has_the_p_of_the_sign_test():
    own = {content: {"kimono": number < 8} for number, content in enumerate(CONTENTS)}
    controls = {name: {content: {"kimono": False} for content in CONTENTS} for name in CONTROLS}

    row = intrusion(own, controls)

    assert row["intrusion"] == row["share"] == 0.25 and row["control_share"] == 0
    assert row["p"] == pytest.approx(2 / 2**8)
    assert row["intrusion_low"] < 0.25 < row["intrusion_high"]


def test_permuted_styles_have_no_intrusion():
    """A style like its controls: p below 0.05 in at most 5 % of cases, and the mean is 0."""
    rows = [intrusion(*answered(0.3, 0.3, seed)) for seed in range(400)]

    assert sum(row["p"] < 0.05 for row in rows) <= 0.05 * 400 + 8
    assert abs(np.mean([row["intrusion"] for row in rows])) < 0.015
    covered = [row["intrusion_low"] <= 0 <= row["intrusion_high"] for row in rows]
    assert np.mean(covered) > 0.9


def test_one_of_several_candidates_is_enough():
    own = {"a": {"fan": False, "kimono": True}, "b": {"fan": False, "kimono": False}}

    row = intrusion(own, {"control": {"a": {"fan": False}, "b": {"fan": True}}})

    assert (row["share"], row["control_share"], row["intrusion"]) == (0.5, 0.5, 0)


def test_a_missing_answer_is_neither_yes_nor_no():
    own = {"a": {"x": None, "y": True}, "b": {"x": None, "y": False}, "c": {"x": True}}

    row = intrusion(own, {"control": {name: {"x": False} for name in "ab"}})

    # b has no valid answer, c no control
    assert (row["contents"], row["unanswered"], row["share"]) == (1, 2, 1)
    assert intrusion({"b": own["b"]}, {}) == {"contents": 0, "unanswered": 1}


def test_what_the_floor_shows_too_is_no_intrusion():
    own, controls = answered(0.8, 0.1, 1)

    same = above_floor(own, controls, own, controls)
    other = above_floor(own, controls, *answered(0.1, 0.1, 2))

    assert same["above_floor"] == 0 and same["above_floor_low"] < 0 < same["above_floor_high"]
    assert other["above_floor_low"] > 0.3
    assert above_floor(own, controls, {}, {}) == {}
