"""Draws are uniform, depend on the style alone, and use no content more often than allowed."""

from collections import Counter

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.pair.draws import content_usage, describe_draws, draw_all


def draw_contents(style_id: str, num_contents: int, per_style: int, seed: int) -> list[int]:
    return draw_all([style_id], num_contents, per_style, seed)[0].tolist()


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
