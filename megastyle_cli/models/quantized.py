"""Frozen linears in fewer bits, so that a model leaves room on a smaller card.

int8 and fp8 are weight-only, by torchao; nf4 is QLoRA's four bits, by bitsandbytes. The products
are computed in the input's numbers: the weights alone are rounded, and gradients pass through.
"""

from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from megastyle_cli.errors import MegastyleError

Quantized = Literal["int8", "fp8", "nf4"]
PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}


def quantize_blocks(blocks: nn.ModuleList, kind: Quantized) -> None:
    """Rounds the weights of all linears in the blocks to `kind`; biases and norms stay.

    Raises MegastyleError if the package it takes is not installed.
    """
    try:
        if kind == "nf4":
            _four_bits(blocks)
        else:
            _by_torchao(blocks, kind)
    except ImportError as missing:
        raise MegastyleError(
            f"--quantize {kind} needs the package {PACKAGES[kind]!r}, which is not installed",
            hint="pip install 'megastyle[quantize]'",
        ) from missing


def _by_torchao(blocks: nn.ModuleList, kind: str) -> None:
    from torchao.quantization import (
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
        quantize_,
    )

    how: Any = Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig()
    quantize_(blocks, how)


def _four_bits(blocks: nn.ModuleList) -> None:
    """Puts bitsandbytes' linears in place; they round their weights on the way to the device."""
    bitsandbytes: Any = import_module("bitsandbytes")  # its types are half there
    for name, linear in list(blocks.named_modules()):
        if not isinstance(linear, nn.Linear):
            continue
        rounded = bitsandbytes.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=linear.weight.dtype,
            quant_type="nf4",
            device=torch.device("meta"),
        )
        rounded.weight = bitsandbytes.nn.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4"
        )
        rounded.bias = linear.bias
        parent, _, last = name.rpartition(".")
        setattr(blocks.get_submodule(parent), last, rounded)
