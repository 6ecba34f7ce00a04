"""Fewer bits for FLUX's blocks: weights rounded by `quantized`, or products in fp8 by torchao.

After a LoRA is fused, so that it is in the rounded weights. What comes before and after the blocks
keeps its numbers: it is small, and errors there are seen everywhere.
"""

from importlib import import_module
from typing import Any

import torch
from torch import nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.quantization import Quantized, quantize_blocks

BYTES_PER_WEIGHT = {"int8": 1.0, "fp8": 1.0, "nf4": 0.5625}  # nf4: a float32 scale for 64 weights
DYNAMIC_FP8_NEEDS = (8, 9)  # compute capability: Ada, Hopper and later


def quantize_flux(transformer: Transformer, how: Quantized) -> None:
    """Rounds the weights of all linears of the blocks in place; they compute as before.

    Raises MegastyleError if the package that does it is not installed.
    """
    for blocks in _blocks(transformer):
        quantize_blocks(blocks, how)


def compute_in_fp8(transformer: Transformer, device: torch.device) -> None:
    """Has the linears of the blocks multiply in fp8: weights by row, activations as they come.

    Raises MegastyleError unless `device` is a GPU that can, and torchao is installed.
    """
    can = device.type == "cuda" and torch.cuda.get_device_capability(device) >= DYNAMIC_FP8_NEEDS
    if not can:
        raise MegastyleError(
            f"--preset fast-fp8 needs a GPU that multiplies in fp8 (RTX 40, H100 or later),"
            f" {device} is none",
            hint="leave it out, or give --preset fast-cache",
        )
    try:
        torchao: Any = import_module("torchao.quantization")
    except ImportError as missing:
        raise MegastyleError(
            "--preset fast-fp8 needs the package 'torchao', which is not installed",
            hint="pip install 'megastyle[quantize]'",
        ) from missing
    config = torchao.Float8DynamicActivationFloat8WeightConfig(granularity=torchao.PerRow())
    for blocks in _blocks(transformer):
        torchao.quantize_(blocks, config)


def _blocks(transformer: Transformer) -> tuple[nn.ModuleList, nn.ModuleList]:
    return transformer.transformer_blocks, transformer.single_transformer_blocks
