"""Kept style: 1 for pictures as good as originals, 0 for strangers; planted slopes are found."""

import numpy as np
import pytest

from megastyle_cli.bias.kept_style import Pictures, kept_style

WIDTH = 48


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def drawn(styles, contents=4, *, kept=None, seed=0):
    """Pictures around a direction of each style; `kept` mixes it with that of another style."""
    directions = unit(np.random.default_rng(1).normal(size=(styles, WIDTH)))
    if kept is not None:
        share = np.asarray(kept)[:, None]
        directions = unit(share * directions + (1 - share) * np.roll(directions, 1, axis=0))
    noise = np.random.default_rng(seed).normal(size=(styles, contents, WIDTH)) * 0.05
    return Pictures(
        vectors=unit((directions[:, None] + noise).reshape(-1, WIDTH)),
        styles=[f"s{style:03}" for style in range(styles) for _ in range(contents)],
        contents=[f"c{content}" for _ in range(styles) for content in range(contents)],
    )


def test_renderings_as_close_as_originals_keep_all_and_strangers_nothing():
    originals = drawn(30)

    same = kept_style(originals, drawn(30, seed=5))
    strangers = kept_style(originals, drawn(30, kept=np.zeros(30), seed=5))

    assert same["kept"] == pytest.approx(1, abs=0.03) and same["lost_share"] == 0
    assert same["kept_low"] <= same["kept"] <= same["kept_high"]
    assert strangers["kept"] == pytest.approx(0, abs=0.15) and strangers["lost_share"] == 1


def test_a_picture_compared_with_itself_keeps_what_the_definition_says():
    """Of one content alone nothing can be compared; without contents S is 1: (1 - F) / (K - F)."""
    one = Pictures(
        vectors=unit(np.array([[1.0, 0.2], [1.0, -0.2], [0.0, 1.0], [0.1, 1.0]])),
        styles=["a", "a", "b", "b"],
        contents=[None] * 4,
    )
    first = Pictures(vectors=one.vectors[:1], styles=["a"], contents=[None])
    alone = Pictures(vectors=one.vectors[[0, 2, 3]], styles=["a", "b", "b"], contents=[None] * 3)

    found = kept_style(one, first)

    cosines = one.vectors @ one.vectors.T
    floor, ceiling = cosines[:2, 2:].mean(), cosines[0, 1]
    similarity = (1 + ceiling) / 2
    assert found["floor"] == pytest.approx(floor, abs=1e-6)
    assert found["kept_by_style"]["a"] == pytest.approx((similarity - floor) / (ceiling - floor))
    assert kept_style(alone, first)["styles"] == 0  # a has one original: no ceiling


def test_pictures_of_the_same_content_are_not_compared():
    originals = drawn(5, contents=2)
    same = Pictures(
        vectors=originals.vectors[:1], styles=["s000"], contents=[originals.contents[0]]
    )

    found = kept_style(originals, same)

    expected = float(originals.vectors[0] @ originals.vectors[1])
    assert found["kept_by_style"]["s000"] == pytest.approx(
        (expected - found["floor"]) / (expected - found["floor"])
    )
    only = Pictures(vectors=originals.vectors[1:2], styles=["s000"], contents=["c0"])
    left = Pictures(vectors=originals.vectors[:1], styles=["s000"], contents=["c0"])
    assert kept_style(left, only)["styles"] == 0


def test_a_planted_slope_is_found_and_none_is_not():
    frequency = {f"s{style:03}": 2.0 ** (style / 4) for style in range(40)}
    rising = np.linspace(0.3, 1, 40)

    loses = kept_style(drawn(40), drawn(40, kept=rising, seed=3), frequency=frequency)
    keeps = kept_style(drawn(40), drawn(40, seed=3), frequency=frequency)

    assert loses["frequency_slope_low"] > 0
    assert keeps["frequency_slope_low"] < 0 < keeps["frequency_slope_high"]
    assert loses["frequency_styles"] == 40


def test_few_styles_have_no_interval_and_other_styles_are_counted():
    found = kept_style(drawn(6), drawn(9, seed=2))

    assert found["styles"] == 6 and found["left_out"] == 3
    assert "kept_low" not in found
