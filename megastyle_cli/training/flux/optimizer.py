"""AdamW for a training of FLUX: its two moments in 32 bits or, by bitsandbytes, in 8."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.training.encoder.optimizer import parameter_groups

Optimizer = Literal["adamw", "adamw8bit"]
PACKAGE = "bitsandbytes"

BLOCK = 256  # moments that share a float32 scale
MOMENT_BYTES = {"adamw": 8.0, "adamw8bit": 2 * (1 + 4 / BLOCK)}  # both, of a weight


def optimizer_of(
    transformer: Transformer, kind: Optimizer, *, lr: float, weight_decay: float
) -> torch.optim.Optimizer:
    """The optimiser of what the transformer trains; only matrices decay.

    In 8 bits, the moments of a weight with fewer than 4,096 numbers stay in 32. Source: Dettmers et
    al. 2021 (arXiv 2110.02861). Raises MegastyleError if bitsandbytes is not installed.
    """
    groups = parameter_groups(transformer, weight_decay)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=lr, fused=True)
    if find_spec(PACKAGE) is None:
        raise MegastyleError(
            f"--optimizer {kind} needs the package {PACKAGE!r}, which is not installed",
            hint="pip install 'megastyle[quantize]'",
        )
    bitsandbytes: Any = import_module(PACKAGE)  # its types are half there
    made: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(groups, lr=lr)
    return made


def moment_bytes(trained: Sequence[Tensor], kind: Optimizer) -> int:
    """About the bytes of the moments of the weights that are trained."""
    return round(MOMENT_BYTES[kind] * sum(weight.numel() for weight in trained))
