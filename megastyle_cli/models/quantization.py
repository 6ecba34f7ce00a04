"""Weights quantized to fewer bits, so that a model fits a smaller GPU.

int8 and fp8 are weight-only, by torchao; nf4 is QLoRA's 4-bit type, by bitsandbytes. Products are
computed in the dtype of the input: only the weights are quantized, and gradients pass through.
"""

from importlib import import_module
from typing import Any, Literal

import torch
from torch import nn

from megastyle_cli.core.extras import require_module

Quantized = Literal["int8", "fp8", "nf4"]
PACKAGES = {"int8": "torchao", "fp8": "torchao", "nf4": "bitsandbytes"}


def quantize_blocks(blocks: nn.ModuleList, kind: Quantized) -> None:
    """Quantizes the weights of all linear layers in the blocks; biases and norms are unchanged.

    Raises MegastyleError if the package for `kind` is not installed.
    """
    require_module(PACKAGES[kind], f"--quantize {kind}")
    if kind == "nf4":
        _quantize_4_bit(blocks)
    else:
        import_module("torchao.quantization").quantize_(blocks, _torchao_config(kind))


def config_for_loading(kind: Quantized | None) -> Any:
    """The diffusers config that quantizes linear layers while a model loads; None without a kind.

    Raises MegastyleError if the package for `kind` is not installed.
    """
    if kind is None:
        return None
    require_module(PACKAGES[kind], f"--quantize {kind}")
    diffusers: Any = import_module("diffusers")
    if kind == "nf4":
        return diffusers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return diffusers.TorchAoConfig(_torchao_config(kind))


def _torchao_config(kind: Quantized) -> Any:
    torchao: Any = import_module("torchao.quantization")
    return torchao.Int8WeightOnlyConfig() if kind == "int8" else torchao.Float8WeightOnlyConfig()


def _quantize_4_bit(blocks: nn.ModuleList) -> None:
    """Replaces linear layers by bitsandbytes', which quantize when they move to the device."""
    bitsandbytes: Any = import_module("bitsandbytes")  # it is only partly typed
    for name, linear in list(blocks.named_modules()):
        if not isinstance(linear, nn.Linear):
            continue
        quantized = bitsandbytes.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=linear.weight.dtype,
            quant_type="nf4",
            device=torch.device("meta"),
        )
        quantized.weight = bitsandbytes.nn.Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4"
        )
        quantized.bias = linear.bias
        parent, _, last = name.rpartition(".")
        setattr(blocks.get_submodule(parent), last, quantized)
