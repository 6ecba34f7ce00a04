"""The discrimination gap of a style, against brute force over pairs."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.evaluate.references import OwnReferences
from megastyle_cli.evaluate.score import ScoringModels
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.paper_protocols.discrimination_gap import discrimination_gap
from tests.evaluate.small_set import VECTORS, RowNumbers, Rows, record, scored_set


def of_vectors(vectors, styles):
    """The images of these vectors (n, d) with their styles."""
    reader = RowNumbers()
    models = ScoringModels(style=Rows(vectors), reader=reader, full_size_reader=reader)
    images = ScoredSet("style_id", models, OwnReferences(models.reference_extractors))
    rows = [record(i, style_id=style) for i, style in enumerate(styles)]
    assert list(images.add(rows)) == []
    return images


def test_the_gap_is_the_mean_over_pairs():
    styles = [f"s{i % 4}" for i in range(14)]
    found = discrimination_gap(scored_set([record(i, style_id=s) for i, s in enumerate(styles)]), 0)

    gaps = {}
    for style in sorted(set(styles)):
        own = [i for i, name in enumerate(styles) if name == style]
        rest = [i for i, name in enumerate(styles) if name != style]
        within = np.mean([VECTORS[a] @ VECTORS[b] for a in own for b in own if a < b])
        gaps[style] = within - np.mean([VECTORS[a] @ VECTORS[b] for a in own for b in rest])
    assert found["value"] == pytest.approx(np.mean(list(gaps.values())), abs=1e-4)
    assert found["negative"] == sum(gap < 0 for gap in gaps.values())
    assert found["negative_share"] == found["negative"] / 4
    for row in found["smallest"]:
        assert row["gap"] == pytest.approx(gaps[row["style"]], abs=1e-4)
        assert row["low"] <= row["gap"] <= row["high"]
    assert [row["gap"] for row in found["smallest"]] == sorted(r["gap"] for r in found["smallest"])


def test_a_style_that_is_none_is_negative_beyond_chance():
    """Images of `mixed` lie each in another style's cluster: farther apart than from strangers."""
    rng = np.random.default_rng(0)
    centers = np.eye(4, 16)
    rows = np.concatenate([centers.repeat(8, axis=0), centers])
    rows = rows + 0.02 * rng.standard_normal(rows.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    styles = [f"s{i // 8}" for i in range(32)] + ["mixed"] * 4

    found = discrimination_gap(of_vectors(rows, styles), 0)

    assert (found["styles"], found["negative"], found["negative_robust"]) == (5, 1, 1)
    assert found["smallest"][0]["style"] == "mixed" and found["smallest"][0]["high"] < 0


def test_a_style_of_one_image_is_left_out_and_counted():
    styles = ["a", "a", "b", "b", "c"]

    found = discrimination_gap(scored_set([record(i, style_id=s) for i, s in enumerate(styles)]), 0)

    assert (found["styles"], found["left_out"], found["images"]) == (2, 1, 4)


def test_one_style_is_refused():
    with pytest.raises(MegastyleError, match="only a has two images"):
        discrimination_gap(scored_set([record(i, style_id="a") for i in range(3)]), 0)
    with pytest.raises(MegastyleError, match="no style has two images"):
        discrimination_gap(scored_set([record(0), record(1)]), 0)
