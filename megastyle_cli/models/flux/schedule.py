"""FLUX's noise levels as MegaStyle uses them: static shift 3, one grid to train on, one to paint.

A noise level sigma is the share of noise in the mixture (1 - sigma) x + sigma noise. FLUX's own
shift grows with the picture; the official LoRA was trained and is used with shift 3 at every size.
"""

import torch
from torch import Tensor

SHIFT = 3.0
SIGMA_MIN = 0.003 / 1.002  # the last level before the shift, for any number of steps
NUM_TRAINING_SIGMAS = 1000


def shifted_sigmas(count: int) -> Tensor:
    """`count` noise levels, from 1 down to 0.0089, float32."""
    evenly = torch.linspace(1, SIGMA_MIN, count, dtype=torch.float64)
    return (SHIFT * evenly / (1 + (SHIFT - 1) * evenly)).float()


def sampling_sigmas(steps: int) -> Tensor:
    """The levels (steps + 1,) that painting passes, from pure noise at 1 to the picture at 0."""
    return torch.cat([shifted_sigmas(steps), torch.zeros(1)])


def bell_loss_weights(sigmas: Tensor) -> Tensor:
    """The weight of the training loss at each of `sigmas`: most at 0.5, nothing at 1.

    exp(-2 (sigma - 0.5)^2), less its least value on the training grid, scaled so that the grid's
    mean is 1. Source: the official trainer.
    """
    grid = _bell(shifted_sigmas(NUM_TRAINING_SIGMAS))
    return (_bell(sigmas) - grid.min()) / (grid - grid.min()).mean()


def timestep_input(sigmas: Tensor, dtype: torch.dtype) -> Tensor:
    """`sigmas` in `dtype`, so that a FluxTransformer2DModel sees the official timestep.

    diffusers rounds sigma to `dtype` and then multiplies by 1,000; the official code multiplies
    first. In bfloat16 the two differ by one rounding step for a quarter of all levels. Of the
    rounded value and its two neighbours, this is the one whose product is the official value or
    next to it.
    """
    official = (sigmas * 1000).to(dtype)
    rounded = sigmas.to(dtype)
    ends = [torch.full_like(rounded, end) for end in (0.0, 2.0)]
    near = torch.stack([rounded, *(torch.nextafter(rounded, end) for end in ends)])
    missed_by = (near * 1000 - official).abs()
    return near.gather(0, missed_by.argmin(0, keepdim=True))[0]


def _bell(sigmas: Tensor) -> Tensor:
    return torch.exp(-2 * (sigmas - 0.5) ** 2)
