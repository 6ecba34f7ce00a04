"""A pipeline of diffusers by folder or hub name: found, read part by part, refused unless whole."""

import inspect
import json
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from transformers import AutoTokenizer

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory, short_reason
from megastyle_cli.models.hub import find_model
from megastyle_cli.models.quantization import Quantized, config_for_loading
from megastyle_cli.models.strict_weights import fingerprint, load_strictly
from megastyle_cli.models.tensor_files import Weights

Pipeline = Any  # a diffusers pipeline: diffusers has no types to check
DENOISERS = ("transformer", "unet")  # the part that paints, by its name in a pipeline
FIRST_VALUES = 64
HOW_TO_FETCH = (
    "fetch one with: hf download Qwen/Qwen-Image --local-dir Qwen-Image; and give --model"
    " Qwen-Image"
)


def load_pipeline(model: str, dtype: torch.dtype, quantize: Quantized | None = None) -> Pipeline:
    """The text-to-image pipeline of a folder or hub NAME[@REVISION], on the CPU, in `dtype`.

    Its class is what model_index.json says. Only a hub name reaches the network, and no code that
    lies beside the weights is run. With `quantize` the part that paints is stored so. Raises
    MegastyleError if there is no such model, if it does not paint from words, or if a weight is
    missing, too many or of another shape.
    """
    folder = find_model(model, hint=HOW_TO_FETCH, is_pipeline=True)
    index = _index(folder)
    kind = _kind(folder, index)
    lacking = [name for name in _parts(index) if not (folder / name).is_dir()]
    if lacking:
        raise MegastyleError(
            f"{folder} is no whole {kind.__name__}: it has no {', '.join(lacking)}",
            hint=f"give a folder as {kind.__name__}.save_pretrained writes it",
        )
    parts = {
        name: load_part(
            part, folder / name, dtype, config_for_loading(quantize if name in DENOISERS else None)
        )
        for name, part in _parts(index).items()
    }
    parts |= {name: None for name, told in index.items() if told == [None, None]}  # SD3 without T5
    try:
        alone = _tokenizers_alone(folder, index)
        parts |= dict.fromkeys(alone)  # given later: diffusers would look for the processor's class
        pipeline = kind.from_pretrained(folder, **parts, local_files_only=True)
        for name, tokenizer in alone.items():
            setattr(pipeline, name, tokenizer)
        return pipeline
    except (OSError, ValueError, TypeError) as fault:  # the tokenizers, the scheduler's settings
        raise MegastyleError(
            f"{folder} cannot be read: {short_reason(fault)}", hint="fetch the model again"
        ) from fault


def load_part(kind: Any, folder: Path, dtype: torch.dtype, quantization: Any = None) -> Any:
    """One model of a pipeline, every weight of it read from the folder's safetensors.

    Raises MegastyleError that names a weight that does not fit, and (exit 1) if memory is full.
    """
    diffusers_logging.disable_progress_bar()
    stored = {"quantization_config": quantization} if quantization is not None else {}
    # Text encoders, unlike diffusers' own parts, are published with buffers of older versions.
    ignore_extra = not kind.__module__.startswith("diffusers")
    try:
        return load_strictly(kind, folder, ignore_extra=ignore_extra, torch_dtype=dtype, **stored)
    except (OSError, ValueError, RuntimeError, MemoryError) as fault:
        if is_out_of_memory(fault):
            raise _too_large(folder) from fault
        raise MegastyleError(
            f"{folder} cannot be read: {short_reason(fault)}", hint="fetch the model again"
        ) from fault


def _too_large(folder: Path) -> MegastyleError:
    """The sentence for a part that found no memory of the machine's."""
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return MegastyleError(
        f"{folder}, {size / 2**30:.2f} GiB, does not fit into the memory that is free here",
        hint="end other programs, give a smaller model, or a machine with more memory",
        exit_code=UNEXPECTED,
    )


def folder_fingerprint(folder: Path) -> str:
    """8 hex digits over the start of every tensor of the part that paints.

    Enough to tell models apart without reading 40 GB; the same in whatever dtype it runs.
    """
    first: Weights = {}
    for name in DENOISERS:
        for file in sorted((folder / name).glob("*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                for key in opened.keys():  # noqa: SIM118
                    first[key] = _first_values(opened.get_slice(key))
    return fingerprint(first)


def denoiser_of(pipeline: Pipeline) -> Any:
    """The part of a pipeline that paints."""
    return next(part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None)


def _first_values(stored: Any) -> torch.Tensor:
    """At most FIRST_VALUES of a tensor, as bfloat16, without reading the rest of it."""
    shape = stored.get_shape()
    if not shape:
        return torch.as_tensor(stored[...]).reshape(1).bfloat16()
    rows = stored[: max(1, FIRST_VALUES // max(1, _product(shape[1:])))]
    return torch.as_tensor(rows).flatten()[:FIRST_VALUES].bfloat16()


def _product(sizes: list[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


def _index(folder: Path) -> dict[str, Any]:
    try:
        index: Any = json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError):
        index = None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise MegastyleError(
            f"{folder} is no model that paints: it has no model_index.json that can be read",
            hint="give the folder of a text-to-image pipeline, such as Qwen-Image's",
        )
    return index


def _kind(folder: Path, index: dict[str, Any]) -> Any:
    """The class of the pipeline. Raises MegastyleError unless it paints pictures from words."""
    name = index["_class_name"]
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise MegastyleError(
            f"{folder} is a {name}, which diffusers {diffusers.__version__} does not have",
            hint="pip install -U diffusers",
        )
    asked = inspect.signature(kind.__call__).parameters
    from_words = {"prompt", "height", "width"} <= asked.keys() and "num_frames" not in asked
    needed = [
        name
        for name, parameter in islice(asked.items(), 1, None)
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and name != "prompt"
    ]
    if not from_words or needed:
        raise MegastyleError(
            f"{folder} is a {name}, which does not paint pictures from words alone",
            hint="give a text-to-image model: Qwen-Image, FLUX.1, FLUX.2, SD3, SDXL or its like",
        )
    return kind


def _tokenizers_alone(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """The tokenizers of processors (FLUX.2's Pixtral), whose part for pictures needs torchvision.

    Words are all that is read here. Where torchvision is installed, processors stay as they are.
    """
    if find_spec("torchvision") is not None:
        return {}
    load: Any = AutoTokenizer.from_pretrained
    return {
        name: load(folder / name, local_files_only=True)
        for name, told in index.items()
        if name.startswith("tokenizer") and isinstance(told, list)
        if str(told[-1]).endswith("Processor")
    }


def _parts(index: dict[str, Any]) -> dict[str, Any]:
    """The models among a pipeline's parts, by name; the rest are tokenizers and settings."""
    found = {}
    for name, told in index.items():
        if (
            not isinstance(told, list)
            or len(told) != 2
            or told[0]
            not in (
                "diffusers",
                "transformers",
            )
        ):
            continue
        kind = getattr(import_module(told[0]), told[1], None)
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module):
            found[name] = kind
    return found
