"""How noisy the targets of training are, what each level counts, and the loss of a prediction.

Pure mathematics: a number drawn evenly in [0, 1) becomes a noise level in (0, 1], its weight, and
the squared error of a velocity. Nothing is rounded to the model's numbers here.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from megastyle_cli.models.flux.schedule import (
    NUM_TRAINING_SIGMAS,
    SIGMA_MIN,
    bell_loss_weights,
    shifted_sigmas,
)

# b pairs, n target tokens, 4c numbers in a token

Timesteps = Literal["megastyle", "logit-normal", "sigmoid", "flux-shift", "uniform"]
Weighting = Literal["bell", "none"]

# FLUX's own shift: its logarithm goes straight from .5 at 256 tokens to 1.15 at 4,096.
FEW_TOKENS, MANY_TOKENS = 256, 4096
LEAST_SHIFT, MOST_SHIFT = 0.5, 1.15


def noise_levels(draws: Tensor, timesteps: Timesteps, num_tokens: int) -> Tensor:
    """The noise levels (b,), float32, of evenly drawn numbers `draws` (b,) in [0, 1).

    megastyle: even over the 1,000 levels with shift 3, as the official trainer. logit-normal: the
    same levels, the place among them being a normal number through a sigmoid, as diffusers' scripts
    draw it. sigmoid: that number itself, without shift, as sd-scripts names it. flux-shift: the
    same, shifted by the number of target tokens as FLUX does. uniform: even over 1,000 levels
    without shift.
    """
    if timesteps == "megastyle":
        return shifted_sigmas(NUM_TRAINING_SIGMAS)[_place(draws)]
    if timesteps == "uniform":
        return torch.linspace(1, SIGMA_MIN, NUM_TRAINING_SIGMAS)[_place(draws)]
    normal = torch.special.ndtri(draws.double().clamp(1e-7, 1 - 1e-7))
    bent: Tensor = normal.sigmoid()
    if timesteps == "logit-normal":
        return shifted_sigmas(NUM_TRAINING_SIGMAS)[_place(bent)]
    if timesteps == "flux-shift":
        share = (num_tokens - FEW_TOKENS) / (MANY_TOKENS - FEW_TOKENS)
        shift = math.exp(LEAST_SHIFT + share * (MOST_SHIFT - LEAST_SHIFT))
        bent = shift * bent / (1 + (shift - 1) * bent)
    return bent.float()


def loss_weights(sigmas: Tensor, weighting: Weighting) -> Tensor:
    """What the loss at each of `sigmas` (b,) counts, (b,): the official bell, or 1."""
    return bell_loss_weights(sigmas) if weighting == "bell" else torch.ones_like(sigmas)


def mixed(latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Latents (b, ...) with noise: (1 - sigma) latents + sigma noise, in float32."""
    share = sigmas.reshape(-1, *[1] * (latents.ndim - 1)).float()
    return (1 - share) * latents.float() + share * noise.float()


def squared_errors(flow: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
    """The mean squared error (b,) of predicted velocities `flow` (b, n, 4c), float32.

    The velocity of a target is its noise minus its latents.
    """
    wanted = noise.float() - latents.float()
    return (flow.float() - wanted).square().flatten(1).mean(1)


def _place(draws: Tensor) -> Tensor:
    return (draws.double() * NUM_TRAINING_SIGMAS).long().clamp(max=NUM_TRAINING_SIGMAS - 1)
