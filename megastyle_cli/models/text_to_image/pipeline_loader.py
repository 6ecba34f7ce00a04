"""Diffusers pipelines loaded strictly from a folder: every part whole, every weight in place."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import logging as diffusers_logging
from safetensors import safe_open
from transformers import AutoTokenizer

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory, short_reason
from megastyle_cli.core.extras import missing_module, needed_package
from megastyle_cli.models.hub import download_again
from megastyle_cli.models.image_only_processor import load_image_only
from megastyle_cli.models.quantization import Quantized, config_for_loading
from megastyle_cli.models.strict_weights import fingerprint, load_strictly
from megastyle_cli.models.tensor_files import Weights
from megastyle_cli.models.text_to_image.pipeline_class import (
    model_classes,
    pipeline_class,
    read_model_index,
)

Pipeline = Any  # a diffusers pipeline: diffusers has no types to check
DENOISERS = ("transformer", "unet")  # a pipeline has one of these
FIRST_VALUES = 64
QWEN3_PROCESSOR = "Qwen3VLProcessor"


def load_pipeline(folder: Path, dtype: torch.dtype, quantize: Quantized | None = None) -> Pipeline:
    """The text-to-image pipeline of a folder, on the CPU, in `dtype`.

    Its class is the one in model_index.json. No code beside the weights is run. `quantize` applies
    to the denoiser. Raises MegastyleError if the pipeline does not generate images from text, or if
    a weight is missing, too many or of another shape.
    """
    index = read_model_index(folder)
    kind = pipeline_class(folder, index)
    absent = {
        name: None for name, entry in index.items() if entry == [None, None]
    }  # SD3 without T5
    tokenizers = _tokenizers_of_processors(folder, index)
    # set afterwards: diffusers would look for the class of the processor
    given = absent | dict.fromkeys(tokenizers) | _image_only_processors(folder, index)
    classes = model_classes(index)
    pipeline = load_parts(kind, folder, classes, dtype, quantize=quantize, given=given)
    for name, tokenizer in tokenizers.items():
        setattr(pipeline, name, tokenizer)
    return pipeline


def load_parts(
    kind: Any,
    folder: Path,
    classes: dict[str, Any],
    dtype: torch.dtype,
    *,
    quantize: Quantized | None = None,
    given: dict[str, Any] | None = None,
    noun: str | None = None,
) -> Pipeline:
    """A pipeline of class `kind` whose models, by name, are of these `classes`.

    `given` are parts that are not loaded from the folder, `noun` names the model in errors. Raises
    MegastyleError if a part is missing or does not fit, and (exit 1) if memory is full.
    """
    missing = [name for name in ("model_index.json", *classes) if not (folder / name).exists()]
    if missing:
        raise MegastyleError(
            f"{folder} is not a complete {noun or kind.__name__}: it has no {', '.join(missing)}",
            hint=f"give a folder as {kind.__name__}.save_pretrained writes it",
        )
    parts = {
        name: load_part(
            part, folder / name, dtype, config_for_loading(quantize if name in DENOISERS else None)
        )
        for name, part in classes.items()
    }
    try:
        return kind.from_pretrained(folder, **parts, **(given or {}), local_files_only=True)
    except Exception as error:  # of tokenizers or the scheduler, whose files may hold anything
        raise _unreadable(folder, error) from error


def load_part(kind: Any, folder: Path, dtype: torch.dtype, quantization: Any = None) -> Any:
    """One model of a pipeline, with every weight read from the folder's safetensors.

    Raises MegastyleError that names a weight that does not fit, and (exit 1) if memory is full.
    """
    diffusers_logging.disable_progress_bar()
    options = {} if quantization is None else {"quantization_config": quantization}
    # Text encoders, unlike diffusers' own parts, are published with buffers of older versions.
    ignore_extra = not kind.__module__.startswith("diffusers")
    try:
        return load_strictly(kind, folder, ignore_extra=ignore_extra, torch_dtype=dtype, **options)
    except MegastyleError:
        raise
    except Exception as error:  # a forged config makes diffusers and transformers raise anything
        if is_out_of_memory(error):
            size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
            raise MegastyleError(
                f"{folder}, {size / 2**30:.2f} GiB, does not fit into the free memory",
                hint="close other programs, or use a smaller model or a machine with more memory",
                exit_code=UNEXPECTED,
            ) from error
        raise _unreadable(folder, error) from error


def denoiser_of(pipeline: Pipeline) -> Any:
    """The transformer or U-Net of a pipeline."""
    return next(part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None)


def denoiser_fingerprint(folder: Path) -> str:
    """8 hex digits over the start of every tensor of the denoiser, read from its files.

    Enough to tell models apart without reading 40 GB; the same in whatever dtype the model runs.
    """
    first: Weights = {}
    for name in DENOISERS:
        for path in sorted((folder / name).glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for key in file.keys():  # noqa: SIM118
                    first[key] = _first_values(file.get_slice(key))
    return fingerprint(first)


def _first_values(stored: Any) -> torch.Tensor:
    """At most FIRST_VALUES of a tensor, as bfloat16, without reading the rest of it."""
    shape = stored.get_shape()
    if not shape:
        return torch.as_tensor(stored[...]).reshape(1).bfloat16()
    rows = stored[: max(1, FIRST_VALUES // max(1, math.prod(shape[1:])))]
    return torch.as_tensor(rows).flatten()[:FIRST_VALUES].bfloat16()


def _tokenizers_of_processors(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """The tokenizers inside processors (FLUX.2's Pixtral), whose image part needs torchvision.

    Only text is encoded here. Where torchvision is installed, processors are loaded as they are.
    """
    if find_spec("torchvision") is not None:
        return {}
    load: Any = AutoTokenizer.from_pretrained
    names = [
        name
        for name, entry in index.items()
        if name.startswith("tokenizer") and isinstance(entry, list)
        if str(entry[-1]).endswith("Processor")
    ]
    try:
        return {name: load(folder / name, local_files_only=True) for name in names}
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(folder, error) from error


def _image_only_processors(folder: Path, index: dict[str, Any]) -> dict[str, Any]:
    """The processors (Qwen-Image 2.1's) whose part for videos needs torchvision, without it."""
    names = [name for name, entry in index.items() if entry == ["transformers", QWEN3_PROCESSOR]]
    try:
        return {name: load_image_only(folder / name) for name in names}
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: BaseException) -> MegastyleError:
    if (package := needed_package(error)) is not None:
        return missing_module(package, str(folder))
    return MegastyleError(
        f"{folder} cannot be read: {short_reason(error)}", hint=download_again(folder)
    )
