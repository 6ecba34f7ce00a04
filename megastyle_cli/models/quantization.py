"""Weights in fewer bits, so that a model leaves room on a smaller card.

int8 and fp8 are weight-only, by torchao; nf4 is QLoRA's four bits, by bitsandbytes. The products
are computed in the input's numbers: the weights alone are rounded, and gradients pass through.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import nn

from megastyle_cli.core.errors import MegastyleError

Quantized = Literal["int8", "fp8", "nf4"]
PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}


def quantize_blocks(blocks: nn.ModuleList, kind: Quantized) -> None:
    """Rounds the weights of all linears in the blocks to `kind`; biases and norms stay.

    Raises MegastyleError if the package it takes is not installed.
    """
    _refuse_missing(kind)
    if kind == "nf4":
        _four_bits(blocks)
    else:
        import_module("torchao.quantization").quantize_(blocks, _torchao_config(kind))


def config_for_loading(kind: Quantized | None) -> Any:
    """What diffusers is told to store a model's linears so as it reads them; None without a kind.

    Raises MegastyleError if the package it takes is not installed.
    """
    if kind is None:
        return None
    _refuse_missing(kind)
    diffusers: Any = import_module("diffusers")
    if kind == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return diffusers.TorchAoConfig(_torchao_config(kind))


def _refuse_missing(kind: Quantized) -> None:
    if find_spec(PACKAGES[kind]) is None:
        raise MegastyleError(
            f"--quantize {kind} needs the package {PACKAGES[kind]!r}, which is not installed",
            hint="pip install 'megastyle[quantize]'",
        )


def _torchao_config(kind: Quantized) -> Any:
    torchao: Any = import_module("torchao.quantization")
    return torchao.Int8WeightOnlyConfig() if kind == "int8" else torchao.Float8WeightOnlyConfig()


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
