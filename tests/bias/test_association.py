"""Associations: planted ones are found and their size is right, chance finds none."""

import numpy as np
import pytest

from megastyle_cli.bias.association import Similarities, associations

NOUNS = [f"noun {n}" for n in range(60)]
CONTROLS = [f"control {n}" for n in range(8)]
CONTENTS = [f"content {n}" for n in range(64)]


def made(planted=None, *, styles=("tested",), seed=0, contents=CONTENTS, noise=1.0):
    """Noise around a value of each content and noun; `planted` raises (style, noun) by a value."""
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 2, (len(contents), len(NOUNS)))
    names = [*styles, *CONTROLS]
    values = base + rng.normal(0, noise, (len(names), *base.shape))
    for (style, noun), value in (planted or {}).items():
        values[names.index(style), :, noun] += value
    return Similarities(
        values=values.reshape(-1, len(NOUNS)),
        styles=[name for name in names for _ in contents],
        contents=list(contents) * len(names),
    )


def test_planted_nouns_are_found_with_their_size():
    planted = {("tested", noun): 3.0 for noun in range(10, 15)}

    (row,) = associations(made(planted), CONTROLS, NOUNS)

    assert {each["noun"] for each in row["nouns"]} == {f"noun {n}" for n in range(10, 15)}
    assert row["association"] == pytest.approx(3 / np.sqrt(7 / 8), abs=0.25)
    assert row["association_low"] < row["association"] < row["association_high"]
    assert row["p_holm"] < 1e-6 and row["contents"] == 32


def test_a_choice_among_nouns_is_no_finding():
    """Nothing is planted: of many styles hardly one is significant, though nouns were chosen."""
    styles = [f"style {n:02}" for n in range(40)]

    rows = associations(made(styles=styles, seed=4), CONTROLS, NOUNS)

    assert len(rows) == 40
    assert sum(row["p"] < 0.05 for row in rows) <= 6
    assert all(row["p_holm"] > 0.05 for row in rows)
    assert abs(np.mean([row["association"] for row in rows])) < 0.1


def test_permuted_styles_lose_their_association():
    pictures = made({("tested", 3): 4.0}, styles=("tested", "other"))
    order = np.random.default_rng(0).permutation(len(pictures.styles))
    permuted = Similarities(
        values=pictures.values,
        styles=[pictures.styles[row] for row in order],
        contents=pictures.contents,
    )

    assert associations(pictures, CONTROLS, NOUNS)[0]["p_holm"] < 0.05
    assert all(row["p_holm"] > 0.05 for row in associations(permuted, CONTROLS, NOUNS))


def test_what_the_encoder_sees_anyway_is_the_floor():
    planted = {("tested", noun): 3.0 for noun in range(5)}

    (same,) = associations(made(planted), CONTROLS, NOUNS, floor=made(planted, seed=9))
    (more,) = associations(made(planted), CONTROLS, NOUNS, floor=made(seed=9))

    assert same["above_floor_low"] < 0 < same["above_floor_high"]
    assert more["above_floor_low"] > 2
    assert more["floor"] == pytest.approx(0, abs=0.3)


def test_few_contents_have_a_test_and_no_interval():
    (row,) = associations(made({("tested", 0): 4.0}, contents=CONTENTS[:20]), CONTROLS, NOUNS)

    assert row["contents"] == 10 and row["p"] < 0.05
    assert "association_low" not in row


def test_contents_without_a_control_are_left_out_and_the_order_changes_nothing():
    pictures = made({("tested", 0): 4.0})
    alone = Similarities(
        values=np.vstack([pictures.values, pictures.values[:1]]),
        styles=[*pictures.styles, "tested"],
        contents=[*pictures.contents, "only here"],
    )
    turned = Similarities(
        values=pictures.values[::-1],
        styles=pictures.styles[::-1],
        contents=pictures.contents[::-1],
    )

    assert associations(alone, CONTROLS, NOUNS) == associations(pictures, CONTROLS, NOUNS)
    (one,), (other,) = (associations(each, CONTROLS, NOUNS) for each in (pictures, turned))
    assert one["nouns"][0]["noun"] == other["nouns"][0]["noun"]
    assert one["association"] == pytest.approx(other["association"], abs=1e-9)


def test_a_style_without_contents_has_no_row():
    pictures = Similarities(values=np.zeros((1, 2)), styles=["tested"], contents=["a"])

    assert associations(pictures, ["control"], ["x", "y"]) == []
