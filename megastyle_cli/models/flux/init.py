"""A FLUX transformer of any size, drawn from a seed, to be trained from nothing."""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer

KIND: Any = FluxTransformer2DModel


def new_transformer(config: Path, seed: int) -> Transformer:
    """The transformer that a config .json, or the config of a model folder, describes, in float32.

    All modulation and the last layer begin at zero, so that every block passes its input on and the
    first prediction is nothing: adaLN-Zero (Peebles and Xie 2023). The global generators stay as
    they were. Raises MegastyleError if no transformer can be made of it.
    """
    path = config / "config.json" if config.is_dir() else config
    try:
        told = json.loads(path.read_text())
        sizes = {name: value for name, value in told.items() if not name.startswith("_")}
    except (OSError, ValueError, AttributeError) as fault:
        raise MegastyleError(
            f"{path} is no config that can be read", hint="give the config.json of a FLUX"
        ) from fault
    known = inspect.signature(KIND.__init__).parameters
    unknown = [name for name in sizes if name not in known]
    if unknown:
        raise MegastyleError(
            f"{path} has {unknown[0]!r}, which no FLUX transformer has",
            hint=f"it may have {', '.join(name for name in known if name != 'self')}",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            made = KIND(**sizes)
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as fault:
            reason = str(fault).partition("\n")[0]
            raise MegastyleError(f"{path} makes no FLUX: {reason}", hint="mend it") from fault
    rope, head = sum(made.config.axes_dims_rope), made.config.attention_head_dim
    if rope != head:
        raise MegastyleError(
            f"{path} makes no FLUX: axes_dims_rope adds up to {rope}, attention_head_dim is {head}",
            hint="make them equal",
        )
    blocks = [*made.transformer_blocks, *made.single_transformer_blocks]
    for block in blocks:
        for name, module in block.named_modules():
            if "norm" in name and isinstance(module, nn.Linear):
                _zero(module)
    _zero(made.norm_out.linear)
    _zero(made.proj_out)
    return made


def _zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
