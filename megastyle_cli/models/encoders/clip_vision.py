"""The image tower of a CLIP, with its projection: from transformers' layout or from CSD's.

CSD (Somepalli et al., arXiv 2404.01292) is a CLIP ViT-L/14 whose projection was trained to tell
styles apart. Layout of its checkpoint [reconstructed: no released file was opened]: a dict with
`model_state_dict`; in it `backbone.*`, named as OpenAI's own CLIP names its image tower, and the
projections `last_layer_style` and `last_layer_content`, each (d, e).
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPVisionModelWithProjection
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import (
    folder_weights,
    model_folder,
    read_weights,
    refuse_lost_layers,
)
from megastyle_cli.models.strict_weights import Weights, configured, fitted, told_config

# d width of the tower, e width of the shared space
HEAD_WIDTH = 64  # in every CLIP that OpenAI released; the weights do not tell
IMAGE_SIDE = ("vision_model.", "visual_projection.")
# Once saved with every CLIP, though they only count the places.
COUNTERS = tuple(f"{side}_model.embeddings.position_ids" for side in ("text", "vision"))
CSD_FRAME = (
    "backbone.conv1.weight",  # (d, 3, p, p)
    "backbone.positional_embedding",  # (places, d)
    "last_layer_style",  # (d, e)
    "last_layer_content",
)
OPENAI_NAMES = (
    ("class_embedding", "embeddings.class_embedding"),
    ("conv1.", "embeddings.patch_embedding."),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_pre.", "pre_layrnorm."),  # so spelled in transformers
    ("ln_post.", "post_layernorm."),
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".c_fc.", ".fc1."),
    (".c_proj.", ".fc2."),
)


def read_clip(model: str) -> CLIPVisionModelWithProjection:
    """The image tower that `model` names, in float32.

    A folder or hub NAME[@REVISION], of a whole CLIP or of its image tower with the projection, or
    a file of CSD's (.pth, .pt, .bin, .safetensors), whose style projection is taken.
    Raises MegastyleError if there is no such model or its weights do not fit to the last tensor.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return _read_csd(path)
    folder = model_folder(model)
    told = told_config(folder)
    if told.get("model_type") != "clip":
        config = configured(CLIPVisionModelWithProjection, told, model)
        return fitted(CLIPVisionModelWithProjection, config, clip_weights(folder), model)
    whole = configured(CLIPModel, told, model)
    whole.vision_config.projection_dim = whole.projection_dim
    side = {name: w for name, w in clip_weights(folder).items() if name.startswith(IMAGE_SIDE)}
    return fitted(CLIPVisionModelWithProjection, whole.vision_config, side, model)


def clip_weights(folder: Path) -> Weights:
    """The tensors of a CLIP's folder, without the counters of places that old ones carry."""
    return {name: w for name, w in folder_weights(folder).items() if name not in COUNTERS}


def centred(picture: Image.Image, side_px: int) -> Tensor:
    """The middle square of the picture as uint8 (3, side, side); bicubic, as CLIP's processor."""
    width, height = (int(side_px * length / min(picture.size)) for length in picture.size)
    left, top = (width - side_px) // 2, (height - side_px) // 2
    small = picture.resize((width, height), Image.Resampling.BICUBIC)
    square = small.crop((left, top, left + side_px, top + side_px))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def standardised(pixels: Tensor) -> Tensor:
    """uint8 pixels (b, 3, h, w) as float32 with the mean and deviation of CLIP's training set."""
    mean, deviation = (
        torch.tensor(channels, device=pixels.device)[:, None, None]
        for channels in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (pixels.float() / 255 - mean) / deviation


def from_openai(visual: Weights) -> Weights:
    """A tower's tensors as transformers names them; a name that is not OpenAI's stays as it is."""
    renamed = {}
    for name, w in visual.items():
        for theirs, ours in OPENAI_NAMES:
            name = name.replace(theirs, ours)
        if ".in_proj_" in name:
            stem, _, kind = name.partition("in_proj_")
            for letter, third in zip("qkv", w.chunk(3), strict=True):
                renamed[f"{stem}{letter}_proj.{kind}"] = third
        else:
            renamed[name] = w
    return renamed


def _read_csd(path: Path) -> CLIPVisionModelWithProjection:
    held = read_weights(path)
    inner = held.get("model_state_dict")
    held = inner if isinstance(inner, dict) else held
    held = {name.removeprefix("module."): w for name, w in held.items()}
    visual = {n.removeprefix("backbone."): w for n, w in held.items() if n.startswith("backbone.")}
    if [getattr(held.get(name), "ndim", None) for name in CSD_FRAME] != [4, 2, 2, 2]:
        raise MegastyleError(
            f"{path} is no CSD checkpoint: its {len(held)} tensors lack {', '.join(CSD_FRAME)}",
            hint="give a checkpoint of CSD, or the folder of a CLIP",
        )
    patch, places, style, _ = (held[name] for name in CSD_FRAME)
    width, _, _, patch_px = patch.shape
    num_layers = len({name.split(".")[2] for name in visual if ".resblocks." in name})
    refuse_lost_layers(path, width, num_layers)
    config = configured(
        CLIPVisionModelWithProjection,
        {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": num_layers,
            "num_attention_heads": width // HEAD_WIDTH,
            "image_size": round((len(places) - 1) ** 0.5) * patch_px,
            "patch_size": patch_px,
            "projection_dim": style.shape[1],
        },
        str(path),
    )
    weights = {f"vision_model.{name}": w for name, w in from_openai(visual).items()}
    weights["visual_projection.weight"] = style.T
    weights |= {n: w for n, w in held.items() if not n.startswith(("backbone.", "last_layer_"))}
    return fitted(CLIPVisionModelWithProjection, config, weights, str(path))
