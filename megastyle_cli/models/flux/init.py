"""A FLUX transformer of any size with random weights, to be trained from scratch."""

import inspect
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from megastyle_cli.core.errors import MegastyleError, first_line
from megastyle_cli.models.flux.model import Transformer

TRANSFORMER_CLASS: Any = FluxTransformer2DModel


def new_transformer(config: Path, seed: int) -> Transformer:
    """The transformer of a config .json, or of the config in a model folder, in float32.

    Weights are drawn from `seed`; the global random generators are left as they were. All
    modulation and the last layer start at zero, so that every block passes its input on and the
    first prediction is zero: adaLN-Zero (Peebles and Xie 2023). Raises MegastyleError if the config
    describes no FLUX transformer.
    """
    path = config / "config.json" if config.is_dir() else config
    try:
        content = json.loads(path.read_text())
        sizes = {name: value for name, value in content.items() if not name.startswith("_")}
    except (OSError, ValueError, AttributeError) as error:
        raise MegastyleError(
            f"{path} is not a readable config", hint="give the config.json of a FLUX"
        ) from error
    known = inspect.signature(TRANSFORMER_CLASS.__init__).parameters
    unknown = [name for name in sizes if name not in known]
    if unknown:
        raise MegastyleError(
            f"{path} has {unknown[0]!r}, which is not an option of a FLUX transformer",
            hint=f"it may have {', '.join(name for name in known if name != 'self')}",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            transformer = TRANSFORMER_CLASS(**sizes)
        except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
            raise MegastyleError(
                f"{path} is not a valid FLUX config: {first_line(error)}", hint="fix it"
            ) from error
    rope, head = sum(transformer.config.axes_dims_rope), transformer.config.attention_head_dim
    if rope != head:
        raise MegastyleError(
            f"{path} is not a valid FLUX config: axes_dims_rope adds up to {rope},"
            f" attention_head_dim is {head}",
            hint="make them equal",
        )
    blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
    for block in blocks:
        for name, module in block.named_modules():
            if "norm" in name and isinstance(module, nn.Linear):
                _zero(module)
    _zero(transformer.norm_out.linear)
    _zero(transformer.proj_out)
    return transformer


def _zero(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
