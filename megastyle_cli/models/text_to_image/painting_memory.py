"""Memory that a text-to-image pipeline needs, from the headers of its files: nothing is loaded."""

import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.flux.memory import (
    BYTES_PER_WEIGHT,
    GIB,
    RESERVED_BYTES,
    device_memory,
    memory_flags,
    suggest_plan,
)
from megastyle_cli.models.tensor_files import damaged, weight_files
from megastyle_cli.models.text_to_image.pipeline_class import model_classes, read_model_index
from megastyle_cli.models.text_to_image.pipeline_loader import DENOISERS

IMAGE_BYTES = GIB  # an estimate of what one image takes while it is denoised and decoded


def count_weights(folder: Path) -> dict[str, int]:
    """The number of weights of each model of the pipeline in a folder."""
    return {
        name: sum(_count(file) for file in weight_files(folder / name))
        for name in model_classes(read_model_index(folder))
        if (folder / name).is_dir()
    }


def painting_plans(weights: dict[str, int], value_bytes: int) -> dict[str, int]:
    """Flags of synth, and the bytes of weights they leave on the device; fast ones first."""
    encoders = sum(n for name, n in weights.items() if name.startswith("text_encoder"))
    denoiser = sum(n for name, n in weights.items() if name in DENOISERS)
    others = sum(weights.values()) - encoders - denoiser
    plans: dict[str, int] = {}
    for quantize in (None, "int8", "nf4"):
        size = BYTES_PER_WEIGHT[quantize] if quantize else value_bytes
        painting = round(denoiser * size) + others * value_bytes
        plans[memory_flags(None, quantize)] = encoders * value_bytes + painting
        plans[memory_flags("model", quantize)] = max(encoders * value_bytes, painting)
    return {**plans, "--offload layers": 0}


def check_memory(
    folder: Path,
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    offload: str | None,
    quantize: str | None,
) -> str:
    """The memory plan in a sentence. Raises MegastyleError if the weights do not fit on a GPU."""
    weights = count_weights(folder)
    plans, flags = painting_plans(weights, dtype.itemsize), memory_flags(offload, quantize)
    needed = plans.get(flags, 0)
    parts = ", ".join(
        f"{name} {n * dtype.itemsize / GIB:.1f}" for name, n in sorted(weights.items())
    )
    plan = (
        f"memory: {_gib(needed)} of weights on {device} at a time{' with ' if flags else ''}{flags}"
        f" (whole, in {str(dtype).removeprefix('torch.')}: {parts} GiB)"
    )
    memory = device_memory(device)
    if memory is None:
        return plan
    if needed + IMAGE_BYTES + RESERVED_BYTES > memory:
        raise MegastyleError(
            f"{model} takes {_gib(needed)} for its weights{' with ' if flags else ''}{flags}, and"
            f" {device} has {_gib(memory)}",
            hint=suggest_plan(
                plans, flags, IMAGE_BYTES, memory, sum(weights.values()) * dtype.itemsize
            ),
            exit_code=UNEXPECTED,
        )
    return f"{plan}; {_gib(memory)} there"


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"


def _count(file: Path) -> int:
    try:
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise damaged(file) from error
