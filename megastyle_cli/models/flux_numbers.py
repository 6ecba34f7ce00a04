"""Fewer bits for the weights of FLUX's blocks: torchao's int8 and fp8, bitsandbytes' nf4.

Quantised after a LoRA is fused, so that it is in the rounded weights. What comes before and after
the blocks keeps its numbers: it is small, and errors there are seen everywhere.
"""

from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.flux import Transformer

Quantize = Literal["int8", "fp8", "nf4"]

BYTES_A_WEIGHT = {"int8": 1.0, "fp8": 1.0, "nf4": 0.5625}  # nf4: a float32 scale for 64 weights
DYNAMIC_FP8_NEEDS = (8, 9)  # compute capability: Ada, Hopper and later


def quantise(transformer: Transformer, how: Quantize) -> None:
    """Rounds the linears of the blocks in place, to about that many bits; they compute as before.

    Raises MegastyleError if the package that does it is not installed.
    """
    if how == "nf4":
        _to_nf4(transformer)
        return
    torchao = _package("torchao.quantization", f"--quantize {how}")
    config = {"int8": "Int8WeightOnlyConfig", "fp8": "Float8WeightOnlyConfig"}[how]
    torchao.quantize_(transformer, getattr(torchao, config)(), filter_fn=_in_a_block)


def compute_in_fp8(transformer: Transformer, device: torch.device) -> None:
    """Has the linears of the blocks multiply in fp8: weights by row, activations as they come.

    Raises MegastyleError unless `device` is a GPU that can.
    """
    can = device.type == "cuda" and torch.cuda.get_device_capability(device) >= DYNAMIC_FP8_NEEDS
    if not can:
        raise MegastyleError(
            f"--preset fast-fp8 needs a GPU that multiplies in fp8 (RTX 40, H100 or later),"
            f" {device} is none",
            hint="leave it out, or give --preset fast-cache",
        )
    torchao = _package("torchao.quantization", "--preset fast-fp8")
    config = torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow())
    torchao.quantize_(transformer, config, filter_fn=_in_a_block)


def _to_nf4(transformer: Transformer) -> None:
    bitsandbytes = _package("bitsandbytes", "--quantize nf4")
    for name, linear in list(transformer.named_modules()):
        if _in_a_block(linear, name):
            parent, _, leaf = name.rpartition(".")
            setattr(transformer.get_submodule(parent), leaf, _nf4(linear, bitsandbytes.nn))


def _nf4(linear: nn.Linear, library: Any) -> nn.Module:
    """The linear with weights that are rounded when they are moved to where they are used."""
    weight = linear.weight.detach()
    sizes = (linear.in_features, linear.out_features, linear.bias is not None)
    made: nn.Module = library.Linear4bit(*sizes, compute_dtype=weight.dtype, quant_type="nf4")
    made.weight = library.Params4bit(weight, requires_grad=False, quant_type="nf4")
    made.bias = linear.bias
    return made


def _in_a_block(module: nn.Module, name: str) -> bool:
    first = name.partition(".")[0]
    return isinstance(module, nn.Linear) and first.endswith("transformer_blocks")


def _package(name: str, flag: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        raise MegastyleError(
            f"{flag} needs the package {name.partition('.')[0]!r}, which is not installed",
            hint="pip install 'megastyle[quantize]'",
        ) from missing
