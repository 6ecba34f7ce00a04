"""FLUX models by folder or hub name: found, inspected and loaded strictly."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, T5EncoderModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from megastyle_cli.models.hub import find_model
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline, load_parts

OFFICIAL = "black-forest-labs/FLUX.1-dev"
BUILTIN_FLUX = "builtin-flux"  # a small one, trained by examples/builtin_flux.sh
BUILTIN_FOLDER = Path(__file__).parents[1] / "builtin" / "weights" / "flux"
DEFAULT_SIZE_PX = 512  # the method's own: the official LoRA was trained with nothing else
HOW_TO_FETCH = (
    f"accept the licence of {OFFICIAL} on its page, log in with: hf auth login, then fetch it with:"
    f" hf download {OFFICIAL} --exclude 'flux1-dev.safetensors' --local-dir FLUX.1-dev;"
    " and give --model FLUX.1-dev"
)
MAX_SIZE_PX = 1 << 14
CLASSES: dict[str, Any] = {
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
}


def find_flux(model: str) -> Path:
    """The folder of a FLUX model; `BUILTIN_FLUX` names the small one of this package.

    Raises MegastyleError that says how to download FLUX.1 if there is none.
    """
    if model == BUILTIN_FLUX:
        return BUILTIN_FOLDER
    return find_model(model, hint=HOW_TO_FETCH, is_pipeline=True)


def load_flux(model: str, dtype: torch.dtype, transformer: Transformer | None = None) -> Pipeline:
    """The FluxPipeline of a folder or hub NAME[@REVISION], on the CPU, in `dtype`.

    A `transformer` replaces that of the folder, which may then have none. Only a hub name reaches
    the network. Raises MegastyleError if there is no such model, or if a weight is missing or has
    another shape.
    """
    folder = find_flux(model)
    classes, given = part_classes(folder), {}
    if transformer is not None:
        del classes["transformer"]
        given["transformer"] = transformer
    return load_parts(FluxPipeline, folder, classes, dtype, given=given, noun="FLUX model")


def part_classes(folder: Path) -> dict[str, Any]:
    """The class of each part of the model in a folder."""
    is_patched = _class_name(folder / "vae") == PatchAutoencoder.__name__
    return CLASSES | ({"vae": PatchAutoencoder} if is_patched else {})


def training_size_px(model: str) -> int:
    """The side of the images that `train-flux` trained the model on; 512 for other models."""
    size = _transformer_metadata(model).get("megastyle.size", str(DEFAULT_SIZE_PX))
    if not size.isdecimal() or not 0 < int(size) <= MAX_SIZE_PX:
        raise MegastyleError(
            f"{model} has an invalid training size: {size!r}", hint="download the model again"
        )
    return int(size)


def is_reference_trained(model: str) -> bool:
    """Whether `train-flux` trained the model itself, without a LoRA, to use a reference."""
    return "megastyle.size" in _transformer_metadata(model)


def block_counts(model: str) -> tuple[int, int]:
    """The number of double and of single blocks in the config.json of a model's transformer.

    Raises MegastyleError if there is none to read.
    """
    path = find_flux(model) / "transformer" / "config.json"
    try:
        config = json.loads(path.read_text())
        return int(config["num_layers"]), int(config["num_single_layers"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MegastyleError(
            f"{path} does not say how many blocks the model has",
            hint="give the complete folder of a FLUX model",
        ) from error


def _class_name(folder: Path) -> str:
    """The class in a part's config.json; empty if it cannot be read, which `load_part` reports."""
    try:
        return str(json.loads((folder / "config.json").read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _transformer_metadata(model: str) -> dict[str, str]:
    """The header of a transformer's weights; empty if they are in several files or unreadable."""
    path = find_flux(model) / "transformer" / "diffusion_pytorch_model.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError):  # reported when the model is loaded
        return {}
