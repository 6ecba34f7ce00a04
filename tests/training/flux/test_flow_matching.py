"""Noise levels and loss weights: the official ones to the digit, others by definition."""

import math

import numpy as np
import pytest
import torch

from megastyle_cli.training.flux.flow_matching import (
    add_noise,
    loss_weights,
    noise_levels,
    squared_errors,
)

UNIFORM = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000


def test_official_levels_are_uniform_over_the_grid_of_shift_3():
    sigmas = noise_levels(UNIFORM, "megastyle", 1024)

    uniform = np.linspace(1, 0.003 / 1.002, 1000)
    grid = 3 * uniform / (1 + 2 * uniform)
    assert np.allclose(np.unique(sigmas.numpy()), grid[::-1], atol=1e-6)
    quantiles = np.quantile(sigmas.numpy(), [0.05, 0.25, 0.5, 0.75, 0.95])
    assert quantiles == pytest.approx([0.14, 0.50, 0.75, 0.90, 0.98], abs=0.01)


def test_official_weights_are_a_bell_over_the_grid_with_mean_one():
    grid = noise_levels((torch.arange(1000) + 0.5) / 1000, "megastyle", 1024)
    weights = loss_weights(grid, "bell")

    assert float(weights.mean()) == pytest.approx(1, abs=1e-6)
    at = {1.0: 0, 0.964: 0.20, 0.9: 0.54, 0.751: 1.26, 0.501: 1.79, 0.254: 1.27, 0.009: 0.05}
    found = loss_weights(torch.tensor(list(at)), "bell")
    assert found.tolist() == pytest.approx(list(at.values()), abs=0.01)
    assert loss_weights(grid, "none").unique().tolist() == [1]


def test_other_levels_have_the_medians_of_their_definitions():
    medians = {
        "uniform": 0.5,
        "sigmoid": 0.5,  # of a normal number
        "logit-normal": 0.75,  # the middle of the grid of shift 3
        "flux-shift": 1 / (1 + math.exp(-1.15)),  # at 4,096 tokens
    }
    for name, median in medians.items():
        sigmas = noise_levels(UNIFORM, name, 4096)
        assert float(sigmas.median()) == pytest.approx(median, abs=0.002), name
        assert float(sigmas.min()) > 0 and float(sigmas.max()) <= 1


def test_sigmoid_levels_are_sigmoids_of_normal_numbers():
    sigmas = noise_levels(UNIFORM, "sigmoid", 1024).double()

    normal = torch.logit(sigmas)
    assert float(normal.mean()) == pytest.approx(0, abs=1e-3)
    assert float(normal.std()) == pytest.approx(1, abs=1e-2)


def test_the_log_shift_of_flux_is_half_at_256_tokens():
    few, many = (noise_levels(UNIFORM, "flux-shift", n).median() for n in (256, 4096))

    assert float(few) == pytest.approx(1 / (1 + math.exp(-0.5)), abs=0.002) and many > few


def test_levels_stay_in_range_for_extreme_draws():
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    for name in ("megastyle", "uniform", "sigmoid", "logit-normal", "flux-shift"):
        sigmas = noise_levels(ends, name, 1024)
        assert bool((sigmas >= 0).all() and (sigmas <= 1).all()), name


def test_noisy_latents_and_errors_are_those_of_rectified_flow():
    rng = np.random.default_rng(0)
    latents, noise, flow = (rng.standard_normal((3, 5, 4)).astype(np.float32) for _ in range(3))
    sigmas = np.array([1.0, 0.5, 0.1], np.float32)

    noisy = add_noise(*map(torch.from_numpy, (latents, noise, sigmas))).numpy()
    errors = squared_errors(*map(torch.from_numpy, (flow, latents, noise))).numpy()

    for k in range(3):
        assert np.allclose(noisy[k], (1 - sigmas[k]) * latents[k] + sigmas[k] * noise[k], atol=1e-6)
        assert errors[k] == pytest.approx(
            np.mean((flow[k] - (noise[k] - latents[k])) ** 2), rel=1e-5
        )
