"""The optimiser, which of the weights decay, and the learning rate of every step."""

import math
from typing import Any, Protocol

import torch
from torch import nn

from megastyle_cli.training.encoder.config import Schedule, Settings

BETAS = (0.9, 0.95)  # SigLIP's
MOMENTUM = 0.9
SLOW_STEPS = 5  # of the official schedule
MOMENTS = {"adamw": 2, "sgd": 1}  # numbers kept for each weight


def optimizer_of(vision: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov's momentum, over all weights of the tower."""
    groups = parameter_groups(vision, settings.weight_decay)
    is_fused = next(vision.parameters()).device.type == "cuda"
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=MOMENTUM, nesterov=True, fused=is_fused
        )
    return torch.optim.AdamW(groups, lr=settings.lr, betas=BETAS, fused=is_fused)


class Rates(Protocol):
    """What decides the learning rate of every step."""

    @property
    def lr(self) -> float:
        """The highest."""

    @property
    def steps(self) -> int:
        """How many there are."""

    @property
    def warmup(self) -> float:
        """The share of them in which it grows."""

    @property
    def schedule(self) -> Schedule:
        """What it does then."""


def learning_rate(step: int, settings: Rates) -> float:
    """Of the update after `step` updates: a straight warm-up, then what the schedule says.

    A function of the step alone, so that a resumed run needs no scheduler's state. `cosine` is half
    a wave to zero, `linear` a straight line to zero, `constant` stays; `official` is a third for
    five updates, then the whole: what the official FLUX trainer's scheduler does on one process.
    """
    if settings.schedule == "official":
        return settings.lr / (3 if step < SLOW_STEPS else 1)
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return settings.lr * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return settings.lr * left[settings.schedule]


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """What a module trains, in two: matrices decay; biases, norms, places and the probe do not."""
    named = [(n, w) for n, w in module.named_parameters() if w.requires_grad]
    decays = [n.endswith("weight") and w.ndim > 1 and "position" not in n for n, w in named]
    return [
        {
            "params": [w for (_, w), d in zip(named, decays, strict=True) if d is is_matrix],
            "weight_decay": weight_decay if is_matrix else 0.0,
        }
        for is_matrix in (True, False)
    ]
