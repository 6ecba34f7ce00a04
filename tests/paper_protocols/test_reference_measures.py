"""Style scores, leakage and OneIG's maximum, against brute force."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.paper_protocols.reference_measures import (
    leakage,
    oneig,
    style_score,
    three_of_each,
)
from tests.evaluate.small_set import VECTORS, record, scored_set, styled


def test_a_style_score_has_its_random_value_and_its_scale():
    images = scored_set(styled(12))

    found, scaled = style_score(images, 0), style_score(images, 0, 100.0)

    own = np.array([VECTORS[i] @ VECTORS[50 + i % 3] for i in range(12)])
    strangers = [VECTORS[i] @ VECTORS[50 + j] for i in range(12) for j in range(3) if j != i % 3]
    assert found["value"] == pytest.approx(own.mean(), abs=1e-4)
    assert found["random"] == pytest.approx(np.mean(strangers), abs=1e-4)
    assert scaled["value"] == pytest.approx(100 * own.mean(), abs=1e-2)
    assert found["images"] == 12 and "ceiling" not in found  # one reference a style


def of_styles(start, count, styles=2, **more):
    """Records of rows from `start` on, of `styles` styles in turn."""
    return [record(start + i, style_id=f"s{i % styles}", **more) for i in range(count)]


def paired(images, references):
    return scored_set(images, references, pair_by="style_id")


def test_the_score_is_read_between_random_and_the_ceiling_of_two_references():
    images = paired(of_styles(0, 6), of_styles(20, 6))

    found = style_score(images, 0)

    rows = {style: [20 + i for i in range(6) if i % 2 == style] for style in (0, 1)}
    pairs = [VECTORS[a] @ VECTORS[b] for own in rows.values() for a in own for b in own if a < b]
    assert found["ceiling"] == pytest.approx(np.mean(pairs), abs=1e-4)


def test_references_scored_against_their_likes_reach_the_ceiling():
    # two rows of each style are close, and the images are the references again
    images = paired(of_styles(0, 6, styles=3), of_styles(0, 6, styles=3))

    found = style_score(images, 0)

    # an image is not its own reference: value and ceiling are means over the same pairs
    assert found["value"] == pytest.approx(found["ceiling"], abs=1e-4)
    assert found.get("relative", 1) == pytest.approx(1, abs=5e-3)


def test_leakage_is_the_similarity_less_that_of_strangers():
    images = scored_set(styled(12))

    found, score = leakage(images, 0), style_score(images, 0)

    assert found["similarity"] == score["value"] and found["random"] == score["random"]
    assert found["value"] == pytest.approx(score["value"] - score["random"], abs=2e-4)


def test_leakage_needs_strangers():
    with pytest.raises(MegastyleError, match="references of other styles"):
        leakage(scored_set(styled(3, styles=1)), 0)


def test_the_maximum_of_three_references_is_averaged_over_pictures_then_prompts():
    # style s0: two pictures of one prompt, one of another; style s1: one picture
    given = [
        record(0, style_id="s0", content="a"),
        record(1, style_id="s0", content="a"),
        record(2, style_id="s0", content="b"),
        record(3, style_id="s1", content="a"),
    ]
    images = paired(given, of_styles(20, 6))

    found = oneig([images, images], "content", 0)

    banks = {f"s{style}": VECTORS[[20 + style, 22 + style, 24 + style]] for style in (0, 1)}
    best = [max(0, (banks[each["style_id"]] @ VECTORS[i]).max()) for i, each in enumerate(given)]
    mean = [max(0, (banks[each["style_id"]] @ VECTORS[i]).mean()) for i, each in enumerate(given)]
    for name, values in (("value", best), ("mean_of_references", mean)):
        expected = np.mean([np.mean(values[:2]), values[2], values[3]])
        assert found[name] == pytest.approx(expected, abs=1e-4)
    assert (found["prompts"], found["images"], found["references"]) == (3, 4, 3)


def test_more_references_do_not_raise_oneig_s_maximum():
    many = of_styles(20, 20)
    three = three_of_each(many, "style_id")

    assert [each["style_id"] for each in three].count("s0") == 3 and len(three) == 6
    assert three_of_each(many[::-1], "style_id")[::-1] == three  # the order says nothing
    assert three_of_each(three, "style_id") == three
    more = three_of_each([*many, record(45, style_id="s2")], "style_id")
    assert more[:6] == three  # nor do other styles


def test_a_style_with_fewer_than_three_references_is_left_out_and_counted():
    images = paired(of_styles(0, 4), [*of_styles(20, 6)[:5]])  # s1 has two

    found = oneig([images], "content", 0)

    assert (found["images"], found["left_out"]) == (2, 2)
    with pytest.raises(MegastyleError, match="no style has 3 references"):
        oneig([paired(of_styles(0, 4), of_styles(20, 4))], "content", 0)
