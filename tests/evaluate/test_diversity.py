"""MPD, Vendi and MNND against loops over all pairs, and at their two ends."""

import numpy as np
import pytest

from megastyle_cli.evaluate.diversity import diversity, mnnd, mpd, vendi


def unit_rows(n, d, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(30, 6), (6, 30)])
def test_measures_equal_their_definitions(shape):
    vectors = unit_rows(*shape)
    n = len(vectors)

    found = diversity(vectors)

    cosine = [[float(a @ b) for b in vectors] for a in vectors]
    pairs = [1 - cosine[i][j] for i in range(n) for j in range(n) if i != j]
    shares = [share for share in np.linalg.eigvalsh(np.array(cosine) / n) if share > 1e-15]
    nearest = [1 - max(cosine[i][j] for j in range(n) if j != i) for i in range(n)]
    assert found["mpd"] == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found["vendi"] == pytest.approx(np.exp(-sum(p * np.log(p) for p in shares)), abs=1e-10)
    assert found["mnnd"] == pytest.approx(np.mean(nearest), abs=1e-12)


def test_equal_rows_count_as_one():
    vectors = unit_rows(1, 8).repeat(20, axis=0)

    assert vendi(vectors) == pytest.approx(1)
    assert mpd(vectors) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("d", [7, 12])
def test_rows_at_right_angles_count_each(d):
    vectors = np.eye(7, d)

    assert vendi(vectors) == pytest.approx(7)
    assert mpd(vectors) == mnnd(vectors) == 1


def test_a_set_larger_than_a_block_finds_the_nearest_of_all():
    vectors = unit_rows(2500, 4)
    twins = np.concatenate([vectors, vectors])  # 5000 x 5000 cosines are held in two parts

    assert mnnd(twins) == pytest.approx(0, abs=1e-12)


def test_one_row_has_no_diversity():
    assert diversity(unit_rows(1, 4)) == {}
