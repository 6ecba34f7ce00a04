"""FLUX's noise levels as MegaStyle uses them: static shift 3, for training and for sampling.

A noise level sigma is the share of noise in (1 - sigma) image + sigma noise. FLUX's own shift
grows with the image; the official LoRA was trained and is used with shift 3 at every size.
"""

import torch
from torch import Tensor

SHIFT = 3.0
SIGMA_MIN = 0.003 / 1.002  # the last level before the shift, for any number of steps
NUM_TRAINING_SIGMAS = 1000


def shifted_sigmas(count: int) -> Tensor:
    """`count` noise levels from 1 down to 0.0089, float32."""
    evenly = torch.linspace(1, SIGMA_MIN, count, dtype=torch.float64)
    return (SHIFT * evenly / (1 + (SHIFT - 1) * evenly)).float()


def sampling_sigmas(steps: int) -> Tensor:
    """The noise levels (steps + 1,) of sampling, from pure noise at 1 to the image at 0."""
    return torch.cat([shifted_sigmas(steps), torch.zeros(1)])


def bell_loss_weights(sigmas: Tensor) -> Tensor:
    """The weights of the training loss at `sigmas`: largest at 0.5, zero at 1.

    exp(-2 (sigma - 0.5)^2), minus its smallest value on the training levels, scaled so that its
    mean over them is 1. Source: the official trainer.
    """
    levels = _bell(shifted_sigmas(NUM_TRAINING_SIGMAS))
    return (_bell(sigmas) - levels.min()) / (levels - levels.min()).mean()


def timestep_input(sigmas: Tensor, dtype: torch.dtype) -> Tensor:
    """`sigmas` in `dtype` such that a FluxTransformer2DModel computes the official timestep.

    diffusers rounds sigma to `dtype` and then multiplies by 1,000; the official code multiplies
    first. In bfloat16 the two differ by one rounding step for a quarter of all levels. Of the
    rounded value and its two neighbours, this returns the one whose product comes closest to the
    official value.
    """
    official = (sigmas * 1000).to(dtype)
    rounded = sigmas.to(dtype)
    ends = [torch.full_like(rounded, end) for end in (0.0, 2.0)]
    candidates = torch.stack([rounded, *(torch.nextafter(rounded, end) for end in ends)])
    distances = (candidates * 1000 - official).abs()
    return candidates.gather(0, distances.argmin(0, keepdim=True))[0]


def _bell(sigmas: Tensor) -> Tensor:
    return torch.exp(-2 * (sigmas - 0.5) ** 2)
