"""Flow-matching objective of FLUX: noise levels, their loss weights, and the velocity error.

Pure mathematics: a uniform random number in [0, 1) becomes a noise level in (0, 1], its weight, and
the squared error of a velocity. Nothing here is rounded to the model's dtype.
"""

import math

import torch
from torch import Tensor

from megastyle_cli.models.flux.schedule import (
    NUM_TRAINING_SIGMAS,
    SIGMA_MIN,
    bell_loss_weights,
    shifted_sigmas,
)
from megastyle_cli.training.flux.config import LossWeight, Timesteps

# b pairs, n target tokens, 4c values in a token

# FLUX's own shift: its logarithm grows linearly from 0.5 at 256 tokens to 1.15 at 4,096.
MIN_TOKENS, MAX_TOKENS = 256, 4096
MIN_LOG_SHIFT, MAX_LOG_SHIFT = 0.5, 1.15


def noise_levels(draws: Tensor, timesteps: Timesteps, num_tokens: int) -> Tensor:
    """The noise levels (b,), float32, for uniform random numbers `draws` (b,) in [0, 1).

    megastyle: uniform over the 1,000 levels with shift 3, as in the official trainer. logit-normal:
    the same levels, the index being the sigmoid of a normal number, as in diffusers' scripts.
    sigmoid: the sigmoid itself, without shift, as sd-scripts calls it. flux-shift: the same,
    shifted by the number of target tokens as FLUX does. uniform: uniform over 1,000 levels without
    shift.
    """
    if timesteps == "megastyle":
        return shifted_sigmas(NUM_TRAINING_SIGMAS)[_index(draws)]
    if timesteps == "uniform":
        return torch.linspace(1, SIGMA_MIN, NUM_TRAINING_SIGMAS)[_index(draws)]
    normal = torch.special.ndtri(draws.double().clamp(1e-7, 1 - 1e-7))
    sigmas: Tensor = normal.sigmoid()
    if timesteps == "logit-normal":
        return shifted_sigmas(NUM_TRAINING_SIGMAS)[_index(sigmas)]
    if timesteps == "flux-shift":
        share = (num_tokens - MIN_TOKENS) / (MAX_TOKENS - MIN_TOKENS)
        shift = math.exp(MIN_LOG_SHIFT + share * (MAX_LOG_SHIFT - MIN_LOG_SHIFT))
        sigmas = shift * sigmas / (1 + (shift - 1) * sigmas)
    return sigmas.float()


def loss_weights(sigmas: Tensor, loss_weight: LossWeight) -> Tensor:
    """The weight (b,) of the loss at each of `sigmas` (b,): the official bell curve, or 1."""
    return bell_loss_weights(sigmas) if loss_weight == "bell" else torch.ones_like(sigmas)


def add_noise(latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """(1 - sigma) latents + sigma noise, in float32; latents and noise are (b, ...)."""
    share = sigmas.reshape(-1, *[1] * (latents.ndim - 1)).float()
    return (1 - share) * latents.float() + share * noise.float()


def squared_errors(flow: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
    """The mean squared error (b,) of predicted velocities `flow` (b, n, 4c), float32.

    The velocity of a target is its noise minus its latents.
    """
    velocity = noise.float() - latents.float()
    return (flow.float() - velocity).square().flatten(1).mean(1)


def _index(draws: Tensor) -> Tensor:
    return (draws.double() * NUM_TRAINING_SIGMAS).long().clamp(max=NUM_TRAINING_SIGMAS - 1)
