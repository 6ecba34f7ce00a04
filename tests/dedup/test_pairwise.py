"""Neighbors found by comparing all pairs equal those of a plain double loop."""

import numpy as np
import pytest

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.dedup import pairwise
from megastyle_cli.dedup.pairwise import NeighborPairs, cosines, exact_neighbors
from tests.dedup.helpers import Array, unit

THRESHOLD = 0.8


def vectors(count: int, seed: int = 0) -> Array:
    return unit(np.random.default_rng(seed).normal(size=(count, 5)))


def plain(points: Array, rows: Array, most: int) -> tuple[list[tuple[int, int, float]], list[bool]]:
    """The first `most` neighbors of each row, and which rows have more."""
    exact = np.round(points.astype(np.float64) @ points.astype(np.float64).T, 6)
    pairs, truncated = [], []
    for row in rows.tolist():
        near = [other for other in range(row) if exact[row, other] >= THRESHOLD]
        pairs += [(row, other, exact[row, other]) for other in near[:most]]
        truncated.append(len(near) > most)
    return pairs, truncated


def listed(found: NeighborPairs) -> list[tuple[int, int, float]]:
    return list(zip(found.one.tolist(), found.two.tolist(), found.score.tolist(), strict=True))


@pytest.mark.parametrize("most", [1, 6, 256])
@pytest.mark.parametrize(("block", "bank"), [(1024, 2048), (7, 11), (64, 10)])
def test_neighbors_are_those_of_a_double_loop(
    most: int, block: int, bank: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MAX_NEIGHBORS", most), ("BLOCK", block), ("_BANK", bank)):
        monkeypatch.setattr(pairwise, name, value)
    points = vectors(300)
    rows = np.sort(np.random.default_rng(1).choice(300, 200, replace=False))

    found = exact_neighbors(points, rows, THRESHOLD, LocalEngine(2))

    pairs, truncated = plain(points, rows, most)
    by_row = sorted(listed(found), key=lambda pair: pair[0])  # stable: in order within a row
    assert [pair[:2] for pair in by_row] == [pair[:2] for pair in pairs]
    scores = [score for _, _, score in pairs]
    assert [score for _, _, score in by_row] == pytest.approx(scores, abs=1e-6)
    assert found.is_truncated.tolist() == truncated


def test_a_pair_exactly_at_the_threshold_is_found() -> None:
    points = unit(np.array([[1, 0], [3, 4], [4, 3]]))

    found = exact_neighbors(points, np.arange(3), 0.6, LocalEngine(1))

    assert listed(found) == [(1, 0, 0.6), (2, 0, 0.8), (2, 1, 0.96)]


def test_no_rows_have_no_neighbors() -> None:
    found = exact_neighbors(vectors(3), np.arange(0), THRESHOLD, LocalEngine(1))

    assert listed(found) == [] and len(found.is_truncated) == 0


def test_cosines_have_six_digits_and_are_at_most_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairwise, "_COSINES_AT_ONCE", 7)
    points = vectors(50)
    one, two = np.random.default_rng(2).integers(0, 50, (2, 40))

    found = cosines(points, np.append(one, 3), points, np.append(two, 3))

    true = (points[one].astype(np.float64) * points[two].astype(np.float64)).sum(axis=1)
    assert found[:-1] == pytest.approx(np.minimum(true, 1), abs=1e-6)
    assert np.array_equal(found, np.round(found, 6)) and found.max() <= 1 and found[-1] == 1.0
