"""The SigLIP image tower: made from a config or from weights, read strictly, written both ways.

Weights go in and out in two layouts: a folder as `SiglipVisionModel.from_pretrained` reads it, and
the official `.pth`, whose names begin with `vision_model.` as before transformers 5.6.
"""

import json
import re
from collections import Counter
from errno import EINVAL
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import SiglipVisionConfig, SiglipVisionModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.strict_weights import Weights, fitted

# b pictures, d width of the tower; pictures are (b, 3, side, side) in [-1, 1]

PREFIX = "vision_model."
WRAPPERS = ("model", "state_dict")
SUFFIXES = (".json", ".pth", ".pt", ".bin", ".safetensors")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?")
# Of the released sizes by width: base, large (CLIP's, too), so400m. The weights do not tell the
# heads, and those that lost their last layers do not tell the depth.
HEADS = {768: 12, 1024: 16, 1152: 16}
DEPTHS = {768: 12, 1024: 24, 1152: 27}
# What the image processor of transformers is told: squash to the side, bicubic, to [-1, 1].
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
    """Pictures (b, 3, side, side) in [-1, 1] to unit rows (b, d), float32 or wider.

    `dtype` bfloat16 runs the tower under autocast; pooling's output is normalised in float32.
    Source: the pooled output, normalised, without a further head, as the release has it.
    """

    def __init__(self, vision: SiglipVisionModel, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.vision = vision
        self.dtype = dtype

    def forward(self, pictures: Tensor) -> Tensor:
        """The unit rows (b, d) of `pictures`."""
        halved = self.dtype != torch.float32
        # Entered anew each time: autocast's cache of cast weights, filled without gradient, would
        # cut the graph of a later pass with gradient.
        with torch.autocast(pictures.device.type, self.dtype, enabled=halved):
            pooled = self.vision(pixel_values=pictures).pooler_output  # (b, d)
        return functional.normalize(pooled.to(torch.promote_types(pooled.dtype, torch.float32)))


def refuse_lost_layers(path: Path, width: int, num_layers: int) -> None:
    """Raises MegastyleError for a lone file of a released width without all the layers of it."""
    if num_layers != DEPTHS.get(width, num_layers):
        raise MegastyleError(
            f"{path} has {num_layers} layers of width {width}, and the released size of that"
            f" width has {DEPTHS[width]}",
            hint="give the whole file, or for a SigLIP put its config.json beside it",
        )


def new_tower(config: SiglipVisionConfig, seed: int) -> SiglipVisionModel:
    """A tower of that size with weights drawn from `seed`; the global generators stay as they were.

    Drawn on the CPU, so that every device starts alike.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SiglipVisionModel(config)


def read_tower(model: str, seed: int = 0) -> SiglipVisionModel:
    """The tower that `model` names, in float32.

    A folder or hub NAME[@REVISION] (of an image tower or of a whole SigLIP), a file of weights
    (.safetensors, .pth, .pt, .bin) with config.json beside it unless it is of a released size, or
    a config .json, whose weights are drawn from `seed`. Only a hub name reaches the network.
    Raises MegastyleError if there is no such model or its weights do not fit to the last tensor.
    """
    path = Path(model).expanduser()
    if path.suffix == ".json" and path.is_file():
        return new_tower(read_config(path), seed)
    if path.is_file():
        weights = unwrapped(read_weights(path), model)
        beside = path.with_name("config.json")
        config = read_config(beside) if beside.exists() else released_config(weights, path)
        return fitted(SiglipVisionModel, config, weights, str(path))
    folder = model_folder(model)
    weights = folder_weights(folder)
    if is_whole_siglip(folder):
        weights = {name: w for name, w in weights.items() if name.startswith(PREFIX)}
    config = read_config(folder / "config.json")
    return fitted(SiglipVisionModel, config, unwrapped(weights, model), model)


def model_folder(model: str) -> Path:
    """The folder of a model: itself, or what the hub has under NAME[@REVISION]."""
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if not HUB_NAME.fullmatch(model) or path.suffix in SUFFIXES:
        raise MegastyleError(f"there is no model {model}", hint="check the path")
    from huggingface_hub import snapshot_download

    name, _, revision = model.partition("@")
    wanted = ["*.json", "*.safetensors", "*.model"]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError) as fault:
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(
            f"the model {model!r} cannot be had: {reason}", hint="name a folder or a hub model"
        ) from fault


def read_config(path: Path) -> SiglipVisionConfig:
    """The size of a tower from a config of the tower or of a whole SigLIP."""
    told = _json(path)
    told = told.get("vision_config", told)
    kind = told.get("model_type", "siglip_vision_model")
    if kind != "siglip_vision_model":
        raise MegastyleError(f"{path} is the config of a {kind}", hint="give one of SigLIP")
    try:
        config = SiglipVisionConfig(**told)
        with torch.device("meta"):
            SiglipVisionModel(config)
    except Exception as fault:  # whatever a size that makes no network raises in transformers
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(f"{path} makes no SigLIP tower: {reason}", hint="mend it") from fault
    return config


def is_whole_siglip(folder: Path) -> bool:
    """Whether a model folder holds a text tower too."""
    return _json(folder / "config.json").get("model_type") == "siglip"


def folder_weights(folder: Path) -> Weights:
    """All tensors of the .safetensors files of a folder."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise MegastyleError(
            f"{folder} holds no .safetensors", hint="give a folder with weights, or a config .json"
        )
    return {name: w for file in files for name, w in read_weights(file).items()}


def read_weights(path: Path) -> dict[str, Any]:
    """What a file of weights holds. Code inside a pickle is never run: MegastyleError instead."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # a reader of pickles lets any error of any byte escape
        # EINVAL is no fault of the disk: torch seeks in front of an archive that is cut off.
        if isinstance(fault, OSError) and fault.errno != EINVAL:
            raise
        raise MegastyleError(
            f"{path} is damaged, or holds more than weights: nothing in it was run",
            hint="give weights as .safetensors, or as a .pth of tensors alone",
        ) from fault
    if not isinstance(held, dict):
        raise MegastyleError(f"{path} holds a {type(held).__name__}", hint="give a state dict")
    return held


def unwrapped(held: dict[str, Any], origin: str) -> Weights:
    """The tensors inside `model`, `state_dict`, with `module.` and `vision_model.` taken off.

    What is no tensor is left out of a wrapper only: a state dict holds nothing else. Raises
    MegastyleError if two tensors then have one name, since either could be the right one.
    """
    for wrapper in WRAPPERS:
        if isinstance(held.get(wrapper), dict):
            held = held[wrapper]
    names = [name.removeprefix("module.").removeprefix(PREFIX) for name in held]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise MegastyleError(
            f"{origin} holds {len(twice)} of {len(set(names))} tensors twice, with and without a"
            f" prefix, such as {twice[0]}",
            hint="give weights that hold each tensor once",
        )
    return dict(zip(names, held.values(), strict=True))


def released_config(weights: Weights, path: Path) -> SiglipVisionConfig:
    """The size of a released tower from the shapes of its weights.

    Raises MegastyleError if the width is not that of a released size, since heads leave no trace,
    or if there are not as many layers as at that width.
    """
    patch = weights.get("embeddings.patch_embedding.weight")  # (d, 3, p, p)
    places = weights.get("embeddings.position_embedding.weight")  # (tokens, d)
    inner = weights.get("encoder.layers.0.mlp.fc1.weight")  # (mlp, d)
    if patch is None or places is None or inner is None:
        raise MegastyleError(
            f"{path} is no SigLIP image tower: of {len(weights)} tensors none is the first layer's",
            hint="give the weights of a SiglipVisionModel",
        )
    width = patch.shape[0]
    if width not in HEADS:
        raise MegastyleError(
            f"{path} has width {width}, not one of the released {sorted(HEADS)}",
            hint="put its config.json beside it",
        )
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layers.")}
    refuse_lost_layers(path, width, len(layers))
    return SiglipVisionConfig(
        hidden_size=width,
        intermediate_size=inner.shape[0],
        num_hidden_layers=DEPTHS[width],
        num_attention_heads=HEADS[width],
        patch_size=patch.shape[-1],
        image_size=round(places.shape[0] ** 0.5) * patch.shape[-1],
    )


def count_tensors(tower: SiglipVisionModel) -> int:
    """How many tensors a checkpoint of this size holds: 448 for so400m."""
    return len(tower.state_dict())


def save_folder(tower: SiglipVisionModel, folder: Path) -> None:
    """What `SiglipVisionModel.from_pretrained` and its image processor read, into a folder."""
    side = tower.config.image_size
    processing = {**PROCESSING, "size": {"height": side, "width": side}}
    save_file(_plain(tower, torch.float32), folder / "model.safetensors", {"format": "pt"})
    config = {"architectures": ["SiglipVisionModel"], **tower.config.to_diff_dict()}
    for name, told in (("config", config), ("preprocessor_config", processing)):
        (folder / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n")


def save_official(tower: SiglipVisionModel, path: Path, dtype: torch.dtype) -> None:
    """The official layout: a .pth of one dict, names with `vision_model.`, in `dtype`."""
    save_tensors({f"{PREFIX}{name}": w for name, w in _plain(tower, dtype).items()}, path)


def save_tensors(held: dict[str, Any], path: Path) -> None:
    """As `torch.save`, but a disk that is full is an OSError, not one of torch's archive."""
    with path.open("wb") as file:
        try:
            torch.save(held, file)
        except RuntimeError as fault:
            if isinstance(fault.__context__, OSError):
                raise fault.__context__ from None
            raise


def _plain(tower: SiglipVisionModel, dtype: torch.dtype) -> Weights:
    return {
        name: w.detach().to("cpu", dtype).contiguous() for name, w in tower.state_dict().items()
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        raise MegastyleError(f"there is no {path}", hint="give a model's whole folder") from None
    except ValueError as fault:
        raise MegastyleError(f"{path} is no JSON: {fault}", hint="mend it") from fault
    if not isinstance(told, dict):
        raise MegastyleError(f"{path} holds no JSON object", hint="mend it")
    return told
