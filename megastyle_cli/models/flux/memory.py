"""What a FLUX and its work take on a device, and the flags with which both would fit there."""

from dataclasses import dataclass

import torch
from torch import nn

from megastyle_cli.models.flux.loader import Pipeline
from megastyle_cli.models.flux.vae import Size

GIB = 2**30
RESERVED_BYTES = GIB  # the driver's, and what the allocator cannot give back
# A block at work holds some 14 rows of the model's width for each token (q, k, v, mlp, their join);
# the autoencoder some 500 numbers for each pixel. Estimates.
ROWS_PER_TOKEN, VALUES_PER_PIXEL = 14, 500
BYTES_PER_WEIGHT = {"int8": 1.0, "fp8": 1.0, "nf4": 0.5625}  # nf4: a float32 scale for 64 weights


@dataclass(frozen=True, kw_only=True)
class ComponentBytes:
    """Bytes of the parts of a model: the transformer's blocks are `linears` and `modulation`."""

    linears: int
    modulation: int
    ends: int  # of the transformer, before and after the blocks
    others: tuple[int, ...]  # text encoders and autoencoder


def component_bytes(pipeline: Pipeline) -> ComponentBytes:
    """The bytes of a pipeline's parts, as they are before anything is quantised or taken out."""
    held = pipeline.components.items()
    parts = {name: part for name, part in held if isinstance(part, nn.Module)}
    transformer = parts.pop("transformer")
    in_blocks = [
        (name, _bytes(p))
        for name, p in transformer.named_parameters()
        if name.partition(".")[0].endswith("transformer_blocks")
    ]
    modulation = sum(size for name, size in in_blocks if ".linear." in name and ".norm" in name)
    whole = sum(_bytes(p) for p in transformer.parameters())
    linears = sum(size for _, size in in_blocks) - modulation
    return ComponentBytes(
        linears=linears,
        modulation=modulation,
        ends=whole - linears - modulation,
        others=tuple(sum(_bytes(p) for p in part.parameters()) for part in parts.values()),
    )


def activation_bytes(size: Size, num_tokens: int, width: int, number_bytes: int) -> int:
    """About what painting one picture takes beside the weights; `num_tokens` counts all."""
    pixels = size[0] * size[1]
    return number_bytes * max(ROWS_PER_TOKEN * num_tokens * width, VALUES_PER_PIXEL * pixels)


def memory_plans(weights: ComponentBytes, number_bytes: int) -> dict[str, int]:
    """Flags, and about the bytes of weights they leave on the device; the exact and fast first."""
    found: dict[str, int] = {}
    for how in (None, "int8", "nf4"):
        share = BYTES_PER_WEIGHT[how] / number_bytes if how else 1.0
        linears, modulation = (round(share * w) for w in (weights.linears, weights.modulation))
        blocks = linears + weights.ends
        held = {
            "": blocks + modulation + sum(weights.others),
            "--offload modulation": blocks + sum(weights.others),
            "--offload model": max(blocks, *weights.others),
        }
        for offload, size in held.items():
            found[memory_flags(offload.rpartition(" ")[2] or None, how)] = size
    return {**found, "--offload layers": 0}


def memory_flags(offload: str | None, quantize: str | None) -> str:
    """Those two options as they are given, or nothing."""
    given = (("--offload", offload), ("--quantize", "int8" if quantize == "fp8" else quantize))
    return " ".join(f"{flag} {value}" for flag, value in given if value)


def suggest_plan(known: dict[str, int], now: str, work: int, memory: int) -> str:
    """What to try next, as the end of a sentence.

    `known` are the `memory_plans`, `now` the flags that did not fit into `memory` bytes, `work` the
    activations of one image in bytes.
    """
    for plan, held in known.items():
        needed = held + work + RESERVED_BYTES
        if needed <= memory and held < known.get(now, memory):
            return f"{plan} --batch-size 1 takes about {needed / GIB:.1f} GiB"
    least = (min(known.values()) + work + RESERVED_BYTES) / GIB
    return f"one takes about {least:.1f} GiB in the smallest plan: give a smaller --size"


def device_memory(device: torch.device) -> int | None:
    """All bytes of a GPU; None for a CPU, whose memory is not ours alone."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.get_device_properties(device).total_memory)


def _bytes(parameter: nn.Parameter) -> int:
    return parameter.numel() * parameter.element_size()
