"""DINOv2's image tower, which sees what an image shows more than its style: a content encoder."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize
from transformers import Dinov2Model

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import resolve_device, resolve_encoder_dtype
from megastyle_cli.models.encoders.clip_vision import center_crop
from megastyle_cli.models.encoders.inference import Array, BatchedEncoder
from megastyle_cli.models.encoders.siglip_vision import encoder_path
from megastyle_cli.models.encoders.style_encoder import require_model
from megastyle_cli.models.hub import revision_of
from megastyle_cli.models.strict_weights import build_config, build_model, fingerprint, read_config
from megastyle_cli.models.tensor_files import Weights, read_folder_weights

# b images, p patches, d width of the tower

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RELEASED_NAMES = (
    (".attention.attention.query.", ".attention.q_proj."),
    (".attention.attention.key.", ".attention.k_proj."),
    (".attention.attention.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
)
PROCESSOR_FILE = "preprocessor_config.json"


@dataclass(frozen=True, kw_only=True)
class ImageSize:
    """The shorter side that an image is resized to, and the side of the square cut from it."""

    short_px: int = 256
    side_px: int = 224


class ContentTower:
    """A DINOv2: the folder or hub NAME[@REVISION] that transformers writes.

    The shorter side of an image is resized to 256 pixels (bicubic), its center of 224 x 224 is cut
    out and normalized with ImageNet's mean and deviation, or as the folder's
    preprocessor_config.json says. Rows and `name` are as in SiglipEncoder. Raises MegastyleError if
    there is no such model or its weights do not fit to the last tensor.
    """

    def __init__(
        self, model: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> None:
        folder = encoder_path(require_model(model, "dinov2"))
        config = build_config(Dinov2Model, read_config(folder), str(model))
        weights = rename_released_weights(read_folder_weights(folder))
        tower = build_model(Dinov2Model, config, weights, str(model))
        self.device = resolve_device(device)
        self.name = f"{model}@{fingerprint(tower.state_dict())}"
        self.revision = revision_of(folder)
        self.size = read_image_size(folder)
        self.dtype = resolve_encoder_dtype(dtype, self.device)
        self.tower: Any = tower.to(self.device)  # type: ignore[arg-type]
        self.width: int = config.hidden_size
        self.num_patches = (self.size.side_px // config.patch_size) ** 2
        tokens = self.num_patches + 1
        self.batches = BatchedEncoder(self.device, self.width, tokens_per_input=tokens)
        # rows of patches are large: few images at once
        self.patch_batches = BatchedEncoder(
            self.device, self.num_patches * self.width, tokens_per_input=8 * tokens
        )

    @property
    def preprocessing(self) -> str:
        """What is done to an image, as a sentence."""
        return (
            f"shorter side to {self.size.short_px} px (bicubic), center {self.size.side_px} x"
            f" {self.size.side_px}, ImageNet's mean and deviation"
        )

    @property
    def batch_size(self) -> int:
        """How many images it takes at once; 1 on a CPU."""
        return self.batches.size

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB images: the class token after the last norm."""
        return self.batches.embed(pictures, self._pixels, self._encode)

    def embed_patches(self, pictures: Sequence[Image.Image]) -> Array:
        """The patches (n, p, d) float32 of RGB images after the last norm, not normalized."""
        rows = self.patch_batches.embed(pictures, self._pixels, self._encode_patches)
        return rows.reshape(len(rows), self.num_patches, self.width)

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """uint8 (b, 3, side, side), resized by all cores."""
        short_px, side_px = self.size.short_px, self.size.side_px
        return torch.stack(
            parallel_map(lambda image: center_crop(image, side_px, short_px=short_px), images)
        )

    def _tokens(self, pixels: Tensor) -> Tensor:
        """(b, 1 + p, d), the class token first."""
        mean, deviation = (
            torch.tensor(channels, device=self.device)[:, None, None]
            for channels in (IMAGENET_MEAN, IMAGENET_DEVIATION)
        )
        values = (pixels.to(self.device).float() / 255 - mean) / deviation
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            tokens: Tensor = self.tower(pixel_values=values).last_hidden_state
        return tokens.float()

    def _encode(self, pixels: Tensor) -> Tensor:
        return normalize(self._tokens(pixels)[:, 0])

    def _encode_patches(self, pixels: Tensor) -> Tensor:
        return self._tokens(pixels)[:, 1:].flatten(1)


def rename_released_weights(weights: Weights) -> Weights:
    """The tensors under the names of transformers since 5; other names are unchanged."""
    renamed = {}
    for name, w in weights.items():
        for old, new in RELEASED_NAMES:
            name = name.replace(old, new)
        renamed[name] = w
    return renamed


def read_image_size(folder: Path) -> ImageSize:
    """The sizes in a folder's preprocessor_config.json; DINOv2's own without one.

    Raises MegastyleError if the file says no sizes.
    """
    file = folder / PROCESSOR_FILE
    if not file.exists():
        return ImageSize()
    try:
        found = json.loads(file.read_text())
        return ImageSize(
            short_px=int(found["size"]["shortest_edge"]), side_px=int(found["crop_size"]["height"])
        )
    except (ValueError, KeyError, TypeError):
        raise MegastyleError(
            f"{file} names no size and crop_size", hint="download the model again"
        ) from None
