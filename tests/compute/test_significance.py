"""Exact p of small cases, and Holm's correction of a worked example."""

import numpy as np
import pytest

from megastyle_cli.compute.significance import holm, sign_test


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1.0] * 8, 2 / 2**8),
        ([-1.0] * 8 + [0.0] * 5, 2 / 2**8),
        ([1.0, 1, 1, -1], 2 * 5 / 16),
        ([1.0, -1.0], 1.0),
        ([0.0], 1.0),
        ([], 1.0),
    ],
)
def test_p_of_the_sign_test_is_exact(differences, p):
    assert sign_test(np.array(differences)) == pytest.approx(p)


def test_thousands_of_differences_have_a_p():
    assert 0 < sign_test(np.array([1.0] * 2600 + [-1.0] * 2400)) < 0.01


def test_holm_multiplies_the_smallest_most_and_never_falls():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.005])), [0.06, 0.03, 0.06, 0.02])
    assert holm(np.array([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).size == 0
