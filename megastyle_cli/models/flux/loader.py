"""A FLUX model by folder or hub name: found, read part by part, and refused unless it is whole."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextModel, T5EncoderModel

from megastyle_cli.core.errors import MegastyleError, short_reason
from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from megastyle_cli.models.hub import find_model
from megastyle_cli.models.text_to_image.pipeline_loader import load_part

Pipeline = Any  # a diffusers FluxPipeline: diffusers has no types to check
PIPELINE: Any = FluxPipeline

SIDE_PX = 512  # the method's size: nothing else was trained
OFFICIAL = "black-forest-labs/FLUX.1-dev"
BUILTIN_FLUX = "builtin-flux"  # a small one, trained by examples/builtin_flux.sh
BUILTIN_FOLDER = Path(__file__).parents[1] / "builtin" / "weights" / "flux"
HOW_TO_FETCH = (
    f"accept the licence of {OFFICIAL} on its page, log in with: hf auth login, then fetch it with:"
    f" hf download {OFFICIAL} --exclude 'flux1-dev.safetensors' --local-dir FLUX.1-dev;"
    " and give --model FLUX.1-dev"
)
PARTS: dict[str, Any] = {
    "transformer": FluxTransformer2DModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": T5EncoderModel,
}


def load_flux(model: str, dtype: torch.dtype, transformer: Any = None) -> Pipeline:
    """The FluxPipeline of a folder or hub NAME[@REVISION], on the CPU, in `dtype`.

    A `transformer` that is given takes the place of the folder's, which may then lack one. Only a
    hub name reaches the network. Raises MegastyleError if there is no such model, or if a weight is
    missing or has another shape.
    """
    folder = find_flux(model)
    wanted = {n: kind for n, kind in PARTS.items() if n != "transformer" or transformer is None}
    lacking = [name for name in ("model_index.json", *wanted) if not (folder / name).exists()]
    if lacking:
        raise MegastyleError(
            f"{folder} is no whole FLUX model: it has no {', '.join(lacking)}",
            hint="give a folder as FluxPipeline.save_pretrained writes it",
        )
    if _class_of(folder / "vae") == PatchAutoencoder.__name__:
        wanted["vae"] = PatchAutoencoder
    parts = {name: load_part(kind, folder / name, dtype) for name, kind in wanted.items()}
    if transformer is not None:
        parts["transformer"] = transformer
    try:
        return PIPELINE.from_pretrained(folder, **parts, local_files_only=True)
    except (OSError, ValueError, TypeError) as fault:  # the tokenizers, the scheduler's settings
        raise MegastyleError(
            f"{folder} cannot be read: {short_reason(fault)}", hint="fetch the model again"
        ) from fault


def _class_of(part: Path) -> str:
    """The class that a part's config.json names; nothing if it cannot be read."""
    try:
        return str(json.loads((part / "config.json").read_text())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def find_flux(model: str) -> Path:
    """The folder of a FLUX model; `BUILTIN_FLUX` names the small one of this package.

    Raises MegastyleError that says how to download FLUX.1 if there is none.
    """
    if model == BUILTIN_FLUX:
        return BUILTIN_FOLDER
    return find_model(model, hint=HOW_TO_FETCH, is_pipeline=True)


def training_size_px(model: str) -> int:
    """The side of the pictures that a model was trained on, as `train-flux` notes it; else 512."""
    return int(_noted(model).get("megastyle.size", SIDE_PX))


def is_reference_trained(model: str) -> bool:
    """Whether `train-flux` taught the model itself to look at a reference, without a LoRA."""
    return "megastyle.size" in _noted(model)


def _noted(model: str) -> dict[str, str]:
    """The header of a model's transformer; nothing if it is in several files, or unreadable."""
    file = find_flux(model) / "transformer" / "diffusion_pytorch_model.safetensors"
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}
    except (OSError, SafetensorError):  # what cannot be read is told where it is needed
        return {}


def block_counts(model: str) -> tuple[int, int]:
    """How many double and single blocks a model's transformer has, by its config.json.

    Raises MegastyleError if there is none to read.
    """
    config = find_flux(model) / "transformer" / "config.json"
    try:
        told = json.loads(config.read_text())
        return int(told["num_layers"]), int(told["num_single_layers"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise MegastyleError(
            f"{config} does not tell how many blocks the model has",
            hint="give a FLUX model's whole folder",
        ) from fault
