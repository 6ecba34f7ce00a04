"""What a choice is said to cover is what it covers."""

import numpy as np
import pytest

from megastyle_cli.cluster.cluster import StyleIdentities, cluster_vectors, sample_coverage
from megastyle_cli.cluster.hierarchy import entropy_bits
from megastyle_cli.compute.local import LocalEngine


def skewed(n: int = 3000, d: int = 16, styles: int = 24, seed: int = 0):
    """Unit vectors (n, d) about a centre for each style, and their styles (n,), a few common."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, styles + 1) ** 1.5
    numbers = rng.choice(styles, n, p=frequency / frequency.sum())
    points = rng.normal(size=(styles, d))[numbers] + rng.normal(0, 0.15, (n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), numbers


@pytest.mark.parametrize("members", ["random", "nearest"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_balanced_sample_covers_styles_more_evenly_than_chance(seed, members):
    vectors, styles = skewed(seed=seed)

    found = cluster_vectors(
        vectors,
        levels="150,30",
        sample=300,
        seed=seed,
        engine=LocalEngine(1),
        members=members,
        identities=styles,
    )

    told = found.coverage["overall styles"]
    chosen = styles[list(found.rows)]
    assert told.entropy == pytest.approx(entropy_bits(np.bincount(chosen)))
    assert (told.covered, told.groups) == (len(set(chosen)), len(set(styles)))
    assert told.entropy > told.random_entropy + 0.3
    assert told.covered >= told.random_covered
    assert any(f"entropy {told.entropy:.2f} bits" in remark for remark in found.remarks)


def test_a_random_sample_is_told_by_what_it_draws():
    styles = np.repeat([0, 1, 2, -1], [70, 20, 10, 5])

    told = sample_coverage(styles, np.arange(20), np.random.default_rng(3))

    chance = styles[np.random.default_rng(3).choice(105, 20, replace=False)]
    assert (told.groups, told.covered, told.entropy) == (3, 1, 0.0)
    assert told.random_entropy == pytest.approx(entropy_bits(np.bincount(chance[chance >= 0])))


def test_all_records_are_no_choice_and_none_is_told():
    vectors, styles = skewed(200)

    found = cluster_vectors(
        vectors, levels="10", sample=None, seed=0, engine=LocalEngine(1), identities=styles
    )

    assert found.coverage == {}
    assert list(found.rows) == list(range(200))


def test_overall_styles_are_the_same_whatever_their_case_and_spaces():
    names = ["Cubism", " cubism ", "Collage", 7, None, "", "pop  art", "POP art"]
    identities = StyleIdentities()

    records = [{"style_identity": name} for name in names]
    assert list(identities.collect(records)) == records

    assert identities.numbers().tolist() == [0, 0, 1, -1, -1, -1, 2, 2]
    assert StyleIdentities().numbers().tolist() == []
