"""Noise levels, loss weights and timesteps equal those of the official code."""

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from megastyle_cli.models.flux.schedule import (
    SIGMA_MIN,
    bell_loss_weights,
    sampling_sigmas,
    shifted_sigmas,
    timestep_input,
)


def test_sampling_sigmas_are_the_official_ones():
    sigmas = sampling_sigmas(30)

    golden = {0: 1.0, 1: 0.9882714, 2: 0.9759792, 15: 0.7380428, 28: 0.1043228, 29: 0.0089286}
    assert all(abs(float(sigmas[k]) - sigma) < 1e-6 for k, sigma in golden.items())
    assert sigmas[30] == 0


def test_sampling_sigmas_are_those_of_a_scheduler_with_static_shift():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=np.linspace(1, SIGMA_MIN, 30))

    assert (scheduler.sigmas - sampling_sigmas(30)).abs().max() <= 1e-6


def test_the_loss_weights_are_the_official_bell():
    grid = shifted_sigmas(1000)

    weights = bell_loss_weights(grid)

    # timestep -> weight, from the official trainer's formula
    golden = {1000: 0, 964: 0.20, 900: 0.54, 751: 1.26, 501: 1.79, 254: 1.27, 9: 0.05}
    for timestep, weight in golden.items():
        nearest = (grid * 1000 - timestep).abs().argmin()
        assert abs(float(weights[nearest]) - weight) < 0.006
    assert abs(float(weights.mean()) - 1) < 1e-5


def test_bfloat16_timesteps_are_the_official_ones():
    grid, sampled = shifted_sigmas(1000), sampling_sigmas(30)[:-1]

    def agreeing(sigmas, inputs):
        return int((inputs * 1000 == (sigmas * 1000).bfloat16()).sum())

    assert agreeing(grid, timestep_input(grid, torch.bfloat16)) == 997
    assert agreeing(sampled, timestep_input(sampled, torch.bfloat16)) == 30
    assert agreeing(grid, grid.bfloat16()) == 759  # what diffusers alone does


def test_float32_sigmas_are_unchanged():
    assert torch.equal(timestep_input(shifted_sigmas(1000), torch.float32), shifted_sigmas(1000))
