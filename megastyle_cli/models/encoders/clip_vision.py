"""The image tower of a CLIP, with its projection: from transformers' layout or from CSD's.

CSD (Somepalli et al., arXiv 2404.01292) is a CLIP ViT-L/14 whose projection was trained to
distinguish styles. Its training script saves a dict with `model_state_dict`, the states of two
optimizers, `iter` and its `args`; in `model_state_dict` are `backbone.*`, named as in OpenAI's own
CLIP, and the heads `last_layer_style` (d, e) and `last_layer_content`. That the released file has
this layout is [reconstructed]: it was not opened.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPVisionModelWithProjection
from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import check_depth, encoder_path
from megastyle_cli.models.strict_weights import build_config, build_model, read_config
from megastyle_cli.models.tensor_files import (
    Weights,
    drop_unused,
    read_folder_weights,
    read_weights,
    unwrapped,
)

# d width of the tower, e width of the shared space
HEAD_WIDTH = 64  # in every CLIP that OpenAI released; it is not in the weights
IMAGE_PREFIXES = ("vision_model.", "visual_projection.")
# Saved with every older CLIP, though they only enumerate the positions.
POSITION_IDS = tuple(f"{side}_model.embeddings.position_ids" for side in ("text", "vision"))
CSD_TENSORS = (
    "backbone.conv1.weight",  # (d, 3, p, p)
    "backbone.positional_embedding",  # (positions, d)
    "last_layer_style",  # (d, e)
)
CSD_PREFIXES = ("backbone.", *CSD_TENSORS[-1:])
CONTENT_HEAD = "last_layer_content"  # a matrix or a small network; only style is used here
OPENAI_NAMES = (
    ("class_embedding", "embeddings.class_embedding"),
    ("conv1.", "embeddings.patch_embedding."),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_pre.", "pre_layrnorm."),  # spelled like this in transformers
    ("ln_post.", "post_layernorm."),
    ("transformer.resblocks.", "encoder.layers."),
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".attn.", ".self_attn."),
    (".c_fc.", ".fc1."),
    (".c_proj.", ".fc2."),
)


def load_clip(model: str) -> CLIPVisionModelWithProjection:
    """The image tower that `model` names, in float32.

    A folder or hub NAME[@REVISION], of a whole CLIP or of its image tower with the projection, or
    a CSD file (.pth, .pt, .bin, .safetensors), of which the style projection is used.
    Raises MegastyleError if there is no such model or its weights do not fit to the last tensor.
    """
    folder = encoder_path(model)
    if folder.is_file():
        return _read_csd(folder)
    values = read_config(folder)
    if values.get("model_type") != "clip":
        config = build_config(CLIPVisionModelWithProjection, values, model)
        return build_model(CLIPVisionModelWithProjection, config, clip_weights(folder), model)
    whole = build_config(CLIPModel, values, model)
    whole.vision_config.projection_dim = whole.projection_dim
    weights = {n: w for n, w in clip_weights(folder).items() if n.startswith(IMAGE_PREFIXES)}
    return build_model(CLIPVisionModelWithProjection, whole.vision_config, weights, model)


def clip_weights(folder: Path) -> Weights:
    """The tensors of a CLIP's folder, without the position ids that old ones carry."""
    weights = read_folder_weights(folder)
    return {name: w for name, w in weights.items() if name not in POSITION_IDS}


def center_crop(
    image: Image.Image, side_px: int, *, short_px: int | None = None, is_csd: bool = False
) -> Tensor:
    """The center square of the image as uint8 (3, side, side), bicubic.

    The shorter side is resized to `short_px` (default: the square's side). As CLIP's processor in
    transformers, or with `is_csd` as CSD's script: its torchvision rounds half of a margin to the
    nearest even pixel, the processor down.
    """
    short = short_px or side_px
    width, height = (int(short * length / min(image.size)) for length in image.size)
    left, top = (
        round(margin / 2) if is_csd else margin // 2
        for margin in (width - side_px, height - side_px)
    )
    small = image.resize((width, height), Image.Resampling.BICUBIC)
    square = small.crop((left, top, left + side_px, top + side_px))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)


def clip_pixels(pixels: Tensor) -> Tensor:
    """uint8 pixels (b, 3, h, w) as float32, normalized as in CLIP's training."""
    mean, deviation = (
        torch.tensor(channels, device=pixels.device)[:, None, None]
        for channels in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    )
    return (pixels.float() / 255 - mean) / deviation


def rename_openai_weights(visual: Weights) -> Weights:
    """A tower's tensors under transformers' names; a name that is not OpenAI's is unchanged."""
    renamed = {}
    for name, w in visual.items():
        for old, new in OPENAI_NAMES:
            name = name.replace(old, new)
        if ".in_proj_" in name:
            stem, _, kind = name.partition("in_proj_")
            for letter, third in zip("qkv", w.chunk(3), strict=True):
                renamed[f"{stem}{letter}_proj.{kind}"] = third
        else:
            renamed[name] = w
    return renamed


def _read_csd(path: Path) -> CLIPVisionModelWithProjection:
    content = read_weights(path)
    inner = content.get("model_state_dict")
    content = inner if isinstance(inner, dict) else content
    content = {
        name: w for name, w in unwrapped(content, path).items() if not name.startswith(CONTENT_HEAD)
    }
    backbone = "backbone."
    visual = {n.removeprefix(backbone): w for n, w in content.items() if n.startswith(backbone)}
    if [getattr(content.get(name), "ndim", None) for name in CSD_TENSORS] != [4, 2, 2]:
        raise MegastyleError(
            f"{path} is not a CSD checkpoint: its {len(content)} tensors lack"
            f" {', '.join(CSD_TENSORS)}",
            hint="give a CSD checkpoint, or the folder of a CLIP model",
        )
    patch, positions, style = (content[name] for name in CSD_TENSORS)
    width, _, _, patch_px = patch.shape
    num_layers = len({name.split(".")[2] for name in visual if ".resblocks." in name})
    check_depth(path, width, num_layers)
    config = build_config(
        CLIPVisionModelWithProjection,
        {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": num_layers,
            "num_attention_heads": width // HEAD_WIDTH,
            "image_size": round((len(positions) - 1) ** 0.5) * patch_px,
            "patch_size": patch_px,
            "projection_dim": style.shape[1],
        },
        str(path),
    )
    weights = {f"vision_model.{name}": w for name, w in rename_openai_weights(visual).items()}
    weights["visual_projection.weight"] = style.T
    drop_unused(content, CSD_PREFIXES, path)
    return build_model(CLIPVisionModelWithProjection, config, weights, str(path))
