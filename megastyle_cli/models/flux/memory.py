"""Memory that a FLUX model needs, and the offload and quantize flags with which it would fit."""

from dataclasses import dataclass

import torch
from torch import nn

from megastyle_cli.models.image_size import Size
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline

GIB = 2**30
RESERVED_BYTES = GIB  # for the driver, and for what the allocator cannot return
# Estimates: a running block holds about 14 rows of the model's width per token (q, k, v, MLP and
# their concatenation), the autoencoder about 500 values per pixel.
ROWS_PER_TOKEN, VALUES_PER_PIXEL = 14, 500
BYTES_PER_WEIGHT = {"int8": 1.0, "fp8": 1.0, "nf4": 0.5625}  # nf4: one float32 scale per 64 weights


@dataclass(frozen=True, kw_only=True)
class ComponentBytes:
    """Bytes of a model's parts; `linears` and `modulation` make up the transformer's blocks."""

    linears: int
    modulation: int
    ends: int  # of the transformer, before and after the blocks
    text: int  # text encoders
    autoencoder: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.linears + self.modulation + self.ends + self.text + self.autoencoder


def component_bytes(pipeline: Pipeline) -> ComponentBytes:
    """The bytes of a pipeline's parts before anything is quantized or offloaded."""
    parts = {
        name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)
    }
    transformer = parts.pop("transformer")
    autoencoder = _module_bytes(parts.pop("vae"))
    in_blocks = {
        name: _bytes(parameter)
        for name, parameter in transformer.named_parameters()
        if name.partition(".")[0].endswith("transformer_blocks")
    }
    modulation = sum(n for name, n in in_blocks.items() if ".linear." in name and ".norm" in name)
    linears = sum(in_blocks.values()) - modulation
    return ComponentBytes(
        linears=linears,
        modulation=modulation,
        ends=_module_bytes(transformer) - linears - modulation,
        text=sum(_module_bytes(part) for part in parts.values()),
        autoencoder=autoencoder,
    )


def activation_bytes(size: Size, num_tokens: int, width: int, value_bytes: int) -> int:
    """An estimate of what one image needs beside the weights; `num_tokens` counts all tokens."""
    num_pixels = size[0] * size[1]
    return value_bytes * max(ROWS_PER_TOKEN * num_tokens * width, VALUES_PER_PIXEL * num_pixels)


def memory_plans(weights: ComponentBytes, value_bytes: int) -> dict[str, int]:
    """Flags, and about the bytes of weights they leave on the device; exact and fast ones first."""
    plans: dict[str, int] = {}
    for quantize in (None, "int8", "nf4"):
        share = BYTES_PER_WEIGHT[quantize] / value_bytes if quantize else 1.0
        linears, modulation = (round(share * n) for n in (weights.linears, weights.modulation))
        blocks = linears + weights.ends
        by_offload = {
            None: blocks + modulation + weights.text + weights.autoencoder,
            "modulation": blocks + weights.text + weights.autoencoder,
            "model": max(blocks + weights.autoencoder, weights.text),
        }
        for offload, needed in by_offload.items():
            plans[memory_flags(offload, quantize)] = needed
    return {**plans, "--offload layers": 0}


def memory_flags(offload: str | None, quantize: str | None) -> str:
    """The two options as flags; empty without them. fp8 takes the bytes of int8 and becomes it."""
    options = (("--offload", offload), ("--quantize", "int8" if quantize == "fp8" else quantize))
    return " ".join(f"{flag} {value}" for flag, value in options if value)


def suggest_plan(
    plans: dict[str, int], flags: str, needed: int, memory: int, host_bytes: int
) -> str:
    """A hint: the first smaller plan that fits into `memory` bytes, or the size of the smallest.

    `plans` are the `memory_plans`, `flags` the plan that did not fit, `needed` the bytes of one
    image's activations, and `host_bytes` those of all weights, which an offload keeps on the host.
    """
    for plan, weights in plans.items():
        total = weights + needed + RESERVED_BYTES
        if total <= memory and weights < plans.get(flags, memory):
            host = f", and {host_bytes / GIB:.1f} GiB of host memory" if "offload" in plan else ""
            return f"{plan} --batch-size 1 takes about {total / GIB:.1f} GiB{host}"
    least = (min(plans.values()) + needed + RESERVED_BYTES) / GIB
    return f"one takes about {least:.1f} GiB in the smallest plan: give a smaller --size"


def device_memory(device: torch.device) -> int | None:
    """All bytes of a GPU; None for a CPU, whose memory is shared with other programs."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def _module_bytes(module: nn.Module) -> int:
    return sum(_bytes(parameter) for parameter in module.parameters())


def _bytes(parameter: nn.Parameter) -> int:
    return parameter.numel() * parameter.element_size()
