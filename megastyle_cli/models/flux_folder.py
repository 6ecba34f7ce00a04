"""A FLUX model by folder or hub name: found, read part by part, and refused unless it is whole."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, T5EncoderModel

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.diffusion_folder import find_model, read_part, short_reason

Pipeline = Any  # a diffusers FluxPipeline: diffusers has no types to check
PIPELINE: Any = FluxPipeline

OFFICIAL = "black-forest-labs/FLUX.1-dev"
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


def read_flux(model: str, dtype: torch.dtype) -> Pipeline:
    """The FluxPipeline of a folder or hub NAME[@REVISION], on the CPU, in `dtype`.

    Only a hub name reaches the network. Raises MegastyleError if there is no such model, or if a
    weight is missing or has another shape.
    """
    folder = find_flux(model)
    lacking = [name for name in ("model_index.json", *PARTS) if not (folder / name).exists()]
    if lacking:
        raise MegastyleError(
            f"{folder} is no whole FLUX model: it has no {', '.join(lacking)}",
            hint="give a folder as FluxPipeline.save_pretrained writes it",
        )
    parts = {name: read_part(kind, folder / name, dtype) for name, kind in PARTS.items()}
    try:
        return PIPELINE.from_pretrained(folder, **parts, local_files_only=True)
    except (OSError, ValueError, TypeError) as fault:  # the tokenizers, the scheduler's settings
        raise MegastyleError(
            f"{folder} cannot be read: {short_reason(fault)}", hint="fetch the model again"
        ) from fault


def find_flux(model: str) -> Path:
    """As `find_model`, saying how FLUX.1 is fetched."""
    return find_model(model, HOW_TO_FETCH)
