"""Optimizers of both trainers, weight decay groups, and the learning rate schedule."""

import math
from importlib import import_module
from typing import Any

import torch
from torch import nn

from megastyle_cli.core.extras import require_module
from megastyle_cli.training.common.config import TrainingConfig

MOMENTUM = 0.9  # of SGD
OFFICIAL_WARMUP_STEPS = 5
EIGHT_BIT_PACKAGE = "bitsandbytes"
EIGHT_BIT_BLOCK = 256  # moments that share a float32 scale
# bytes of the moments of one weight
MOMENT_BYTES = {"adamw": 8.0, "sgd": 4.0, "adamw8bit": 2 * (1 + 4 / EIGHT_BIT_BLOCK)}


def build_optimizer(
    module: nn.Module, config: TrainingConfig, *, betas: tuple[float, float], fused: bool
) -> torch.optim.Optimizer:
    """AdamW with `betas`, SGD with Nesterov momentum, or 8-bit AdamW, over the trained weights.

    Only matrices decay. In 8 bits, the moments of a weight with fewer than 4,096 values stay in 32
    bits; source: Dettmers et al. 2021 (arXiv 2110.02861). Raises MegastyleError if bitsandbytes is
    not installed.
    """
    groups = parameter_groups(module, config.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, nesterov=True, fused=fused)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=fused)
    require_module(EIGHT_BIT_PACKAGE, f"--optimizer {config.optimizer}")
    bitsandbytes: Any = import_module(EIGHT_BIT_PACKAGE)  # only partly typed
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        groups, lr=config.lr, betas=betas
    )
    return optimizer


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The trained weights in two groups: matrices decay; biases, norms, position embeddings and
    the attention-pooling probe do not.
    """
    named = [(n, w) for n, w in module.named_parameters() if w.requires_grad]
    decays = [n.endswith("weight") and w.ndim > 1 and "position" not in n for n, w in named]
    return [
        {
            "params": [w for (_, w), d in zip(named, decays, strict=True) if d is is_matrix],
            "weight_decay": weight_decay if is_matrix else 0.0,
        }
        for is_matrix in (True, False)
    ]


def learning_rate(step: int, num_steps: int, config: TrainingConfig) -> float:
    """The learning rate of the update after `step` updates: linear warm-up, then the schedule.

    A function of the step alone, so that a resumed run needs no scheduler state. `cosine` decays to
    zero along half a cosine wave, `linear` in a straight line, `constant` stays; `official` is a
    third for five updates, then the full rate: what the official FLUX trainer's scheduler does on
    one process.
    """
    if config.schedule == "official":
        return config.lr / (3 if step < OFFICIAL_WARMUP_STEPS else 1)
    warmup_steps = max(1, round(config.warmup * num_steps))
    if step < warmup_steps:
        return config.lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    factors = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "constant": 1.0,
    }
    return config.lr * factors[config.schedule]
