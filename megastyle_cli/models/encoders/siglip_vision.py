"""The SigLIP image tower: built from a config or from weights, read strictly, written both ways.

Weights are read and written in two layouts: a folder for `SiglipVisionModel.from_pretrained`, and
the official `.pth`, whose names begin with `vision_model.` as before transformers 5.6. A tower of a
size that was not released is written as {"model": weights, "config": sizes}, which the official
script reads too.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipVisionConfig, SiglipVisionModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import find_file, find_model
from megastyle_cli.models.strict_weights import build_config, build_model, read_config
from megastyle_cli.models.tensor_files import (
    Weights,
    drop_unused,
    read_folder_weights,
    read_weights,
    unwrapped,
    weight_files,
    write_torch,
)

# b images, d width of the tower; images are (b, 3, side, side) in [-1, 1]

OFFICIAL_ENCODER = "Gaojunyao/MegaStyle"  # on the hub; beside it lies the LoRA
ENCODER_FILE = "megastyle_encoder.pth"
PREFIX = "vision_model."
PARTS = ("embeddings.", "encoder.", "post_layernorm.", "head.")
WRAPPERS = ("model", "state_dict")
SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("image_size", "patch_size", "num_channels", "hidden_act", "layer_norm_eps"),
)
# Of the released sizes by width: base, large (CLIP's, too), so400m. The weights do not contain the
# number of heads, and a file that lost its last layers does not contain the depth.
HEADS = {768: 12, 1024: 16, 1152: 16}
DEPTHS = {768: 12, 1024: 24, 1152: 27}
# Of so400m-patch14-384: its 27 x 27 patches of 14 pixels cover 378 of the 384 that it is given.
SIDES_PX = {(14, 27): 384}
# Settings of the image processor of transformers: resize to the square, bicubic, to [-1, 1].
PROCESSING = {
    "image_processor_type": "SiglipImageProcessor",
    "do_convert_rgb": True,
    "do_resize": True,
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


class StyleTower(nn.Module):
    """Images (b, 3, side, side) in [-1, 1] to unit rows (b, d), float32 or wider.

    `dtype` bfloat16 runs the tower under autocast; the pooled output is normalized in float32.
    Source: the pooled output, normalized, without a further head, as in the release.
    """

    def __init__(self, vision: SiglipVisionModel, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.vision = vision
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        """The unit rows (b, d) of `images`."""
        uses_autocast = self.dtype != torch.float32
        # Entered for every call: autocast's cache of cast weights, filled without gradients, would
        # cut the graph of a later pass with gradients.
        with torch.autocast(images.device.type, self.dtype, enabled=uses_autocast):
            pooled = self.vision(pixel_values=images).pooler_output  # (b, d)
        return functional.normalize(pooled.to(torch.promote_types(pooled.dtype, torch.float32)))


def resize_to_square(image: Image.Image, side_px: int) -> Tensor:
    """The image as uint8 (3, side, side), aspect ratio ignored; bicubic, as SigLIP's processor."""
    small = image.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def normalize_pixels(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]: mean 0.5, standard deviation 0.5."""
    return (pixels.float() / 255 - 0.5) / 0.5


def new_tower(config: SiglipVisionConfig, seed: int) -> SiglipVisionModel:
    """A tower of that size with weights drawn from `seed`; global generators are left unchanged.

    Drawn on the CPU, so that every device starts alike.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SiglipVisionModel(config)


def load_tower(model: str, seed: int = 0) -> SiglipVisionModel:
    """The tower that `model` names, in float32.

    A folder or hub NAME[@REVISION] (of an image tower or of a whole SigLIP), a file of weights
    (.safetensors, .pth, .pt, .bin) that holds its sizes, has config.json beside it or is of a
    released size, or a config .json, whose weights are drawn from `seed`. OFFICIAL_ENCODER is its
    file of weights. Only a hub name reaches the network. Tensors beside those of the tower are
    counted in a warning. Raises MegastyleError if there is no such model or if the tower's weights
    do not fit to the last tensor.
    """
    path = encoder_path(model)
    if path.suffix == ".json" and path.is_file():
        return new_tower(read_tower_config(path), seed)
    if path.is_file():
        content = read_weights(path)
        weights = drop_unused(unwrap(content, model), PARTS, path)
        return build_model(
            SiglipVisionModel, _file_config(path, content, weights), weights, str(path)
        )
    weights = read_folder_weights(path)
    if is_whole_siglip(path):
        weights = {name: w for name, w in weights.items() if name.startswith(PREFIX)}
    weights = drop_unused(unwrap(weights, model), PARTS, path)
    return build_model(SiglipVisionModel, read_tower_config(path), weights, model)


def _file_config(path: Path, content: dict[str, Any], weights: Weights) -> SiglipVisionConfig:
    """The size of a file's tower: from the file, from config.json beside it, or as released."""
    inside, beside = content.get("config"), path.with_name("config.json")
    if isinstance(inside, dict):
        config: SiglipVisionConfig = build_config(SiglipVisionModel, inside, str(path))
        return config
    return read_tower_config(beside) if beside.exists() else released_config(weights, path)


def inspect_tower(model: str) -> tuple[Path, list[Path], SiglipVisionConfig | None]:
    """What `load_tower` would read: the path, its files of weights, and the size of the tower.

    No weight is read. The size is None for a file of weights without config.json beside it. Raises
    MegastyleError if there is no such model, or a folder without weights.
    """
    path = encoder_path(model)
    if path.suffix == ".json" and path.is_file():
        return path, [], read_tower_config(path)
    if path.is_file():
        beside = path.with_name("config.json")
        return path, [path], read_tower_config(beside) if beside.exists() else None
    return path, weight_files(path), read_tower_config(path)


def encoder_path(model: str) -> Path:
    """The file or folder of an encoder: itself, or what the hub has under NAME[@REVISION].

    OFFICIAL_ENCODER is a repository of two files, of which only the encoder's is downloaded.
    """
    path = Path(model).expanduser()
    if path.is_file():
        return path
    if model.partition("@")[0] == OFFICIAL_ENCODER and not path.exists():
        return find_file(model, ENCODER_FILE, "model")
    return find_model(model, "model", hint="name a folder or a hub model")


def read_tower_config(path: Path) -> SiglipVisionConfig:
    """The size of a tower from a config of the tower or of a whole SigLIP."""
    values = read_config(path)
    config: SiglipVisionConfig = build_config(
        SiglipVisionModel, values.get("vision_config") or values, str(path)
    )
    return config


def is_whole_siglip(folder: Path) -> bool:
    """Whether a model folder holds a text tower too."""
    return read_config(folder).get("model_type") == "siglip"


def unwrap(content: dict[str, Any], origin: str) -> Weights:
    """The tensors inside `model` or `state_dict`, as `unwrapped`, without `vision_model.`."""
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    return unwrapped(content, origin, PREFIX)


def released_config(weights: Weights, path: Path) -> SiglipVisionConfig:
    """The size of a released tower from the shapes of its weights.

    Only the number of patches is in them: the side of the images is that of the released models.
    Raises MegastyleError if the width is not that of a released size, since the number of heads is
    not in the weights, or if there are not as many layers as at that width.
    """
    patch = weights.get("embeddings.patch_embedding.weight")  # (d, 3, p, p)
    positions = weights.get("embeddings.position_embedding.weight")  # (tokens, d)
    inner = weights.get("encoder.layers.0.mlp.fc1.weight")  # (mlp, d)
    if patch is None or positions is None or inner is None:
        raise MegastyleError(
            f"{path} is not a SigLIP image tower: none of its {len(weights)} tensors is that of"
            " the first layer",
            hint="give the weights of a SiglipVisionModel",
        )
    width = patch.shape[0]
    if width not in HEADS:
        raise MegastyleError(
            f"{path} has width {width}, not one of the released {sorted(HEADS)}",
            hint="put its config.json beside it",
        )
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    patch_px, patches = patch.shape[-1], round(positions.shape[0] ** 0.5)  # patches in a row
    check_depth(path, width, len(layers))
    return SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=inner.shape[0],
        num_hidden_layers=DEPTHS[width],
        num_attention_heads=HEADS[width],
        patch_size=patch_px,
        image_size=SIDES_PX.get((patch_px, patches), patches * patch_px),
    )


def check_depth(path: Path, width: int, num_layers: int) -> None:
    """Raises MegastyleError if a lone file of a released width does not have all its layers."""
    if num_layers != DEPTHS.get(width, num_layers):
        raise MegastyleError(
            f"{path} has {num_layers} layers of width {width}, but the released model of that"
            f" width has {DEPTHS[width]}",
            hint="give the whole file, or for a SigLIP put its config.json beside it",
        )


def count_tensors(tower: SiglipVisionModel) -> int:
    """How many tensors a checkpoint of this size holds: 448 for so400m."""
    return len(tower.state_dict())


def save_folder(tower: SiglipVisionModel, folder: Path) -> None:
    """Writes what `SiglipVisionModel.from_pretrained` and its image processor read."""
    side = tower.config.image_size
    processing = {**PROCESSING, "size": {"height": side, "width": side}}
    save_file(_cpu_weights(tower, torch.float32), folder / "model.safetensors", {"format": "pt"})
    config = {"architectures": ["SiglipVisionModel"], **tower.config.to_diff_dict()}
    for name, values in (("config", config), ("preprocessor_config", processing)):
        (folder / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")


def save_official(tower: SiglipVisionModel, path: Path, dtype: torch.dtype) -> None:
    """The official layout: a .pth of one dict, names with `vision_model.`, in `dtype`.

    If the shapes do not tell the size of the tower, that dict is `model` beside `config`, so that
    the file is one encoder wherever it lies.
    """
    weights = _cpu_weights(tower, dtype)
    content: dict[str, Any] = {f"{PREFIX}{name}": w for name, w in weights.items()}
    sizes = {name: getattr(tower.config, name) for name in SIZES}
    if sizes != _released_sizes(weights, path):
        content = {"model": content, "config": sizes}
    write_torch(content, path)


def _released_sizes(weights: Weights, path: Path) -> dict[str, Any] | None:
    try:
        config = released_config(weights, path)
    except MegastyleError:
        return None
    return {name: getattr(config, name) for name in SIZES}


def _cpu_weights(tower: SiglipVisionModel, dtype: torch.dtype) -> Weights:
    return {
        name: w.detach().to("cpu", dtype).contiguous() for name, w in tower.state_dict().items()
    }
