"""Strengths from votes: known solutions, symmetry, and recovery of simulated systems."""

import numpy as np
import pytest

from megastyle_cli.preference.bradley_terry import fit, win_shares

PAIRS = np.array([(0, 1), (0, 2), (1, 2)])


def test_a_symmetric_set_of_votes_gives_strengths_of_0():
    strengths, _ = fit(np.full((1, 3, 3), 7.0), PAIRS, 3)

    assert np.abs(strengths).max() < 1e-12


def test_two_systems_without_ties_have_the_log_odds_of_their_wins():
    strengths, ties = fit(np.array([[[300_000.0, 100_000.0, 0.0]]]), PAIRS[:1], 2)

    assert strengths[0, 0] - strengths[0, 1] == pytest.approx(np.log(3), abs=1e-4)
    assert ties[0] < -5


def test_exchanging_two_systems_exchanges_their_strengths():
    counts = np.array([[[9.0, 3, 2], [8, 1, 4], [5, 6, 1]]])
    swapped = counts[:, [0, 2, 1]][:, :, [1, 0, 2]]
    swapped[:, 0], swapped[:, 1], swapped[:, 2] = (
        counts[:, 0][:, [1, 0, 2]],
        counts[:, 2],
        counts[:, 1],
    )

    strengths, ties = fit(counts, PAIRS, 3)
    others, other_ties = fit(swapped, PAIRS, 3)

    np.testing.assert_allclose(strengths[0, [1, 0, 2]], others[0], atol=1e-9)
    np.testing.assert_allclose(ties, other_ties, atol=1e-9)


def test_the_fit_maximizes_the_posterior():
    counts = np.array([[[9.0, 3, 2], [8, 1, 4], [5, 6, 1]]])
    strengths, ties = fit(counts, PAIRS, 3)

    def log_posterior(s, t):
        total = -(np.sum(s**2) + t**2) / 18
        for (one, other), (wins, losses, even) in zip(PAIRS, counts[0], strict=True):
            odds = np.array([s[one], s[other], t + (s[one] + s[other]) / 2])
            shares = np.exp(odds) / np.exp(odds).sum()
            total += np.log(shares) @ [wins, losses, even]
        return total

    best = log_posterior(strengths[0], ties[0])
    for step in np.concatenate([np.eye(4), -np.eye(4)]) * 1e-3:
        assert log_posterior(strengths[0] + step[:3], ties[0] + step[3]) < best + 1e-12


def test_a_system_that_always_wins_has_a_finite_strength():
    strengths, _ = fit(np.array([[[50.0, 0, 0]]]), PAIRS[:1], 2)

    assert 2 < strengths[0, 0] - strengths[0, 1] < 20


def test_simulated_strengths_are_recovered():
    rng = np.random.default_rng(3)
    true, tie = np.array([0.6, 0.0, -0.6]), -0.5
    odds = np.array([[true[i], true[j], tie + (true[i] + true[j]) / 2] for i, j in PAIRS])
    shares = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    counts = np.array([[rng.multinomial(20_000, share) for share in shares]], dtype=float)

    strengths, ties = fit(counts, PAIRS, 3)

    np.testing.assert_allclose(strengths[0], true, atol=0.04)
    assert ties[0] == pytest.approx(tie, abs=0.04)


def test_shares_of_wins_are_those_of_the_model():
    strengths, ties = np.array([[np.log(3) / 2, -np.log(3) / 2]]), np.array([-50.0])

    np.testing.assert_allclose(win_shares(strengths, ties), [[0.75, 0.25]])
    assert win_shares(np.zeros((1, 1)), np.zeros(1)).tolist() == [[0.5]]
