"""Style encoders: images to unit vectors by the image tower of a SigLIP (the paper's) or a CLIP."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import resolve_device, resolve_encoder_dtype
from megastyle_cli.models.encoders.clip_vision import center_crop, clip_pixels, load_clip
from megastyle_cli.models.encoders.inference import Array, BatchedEncoder
from megastyle_cli.models.encoders.siglip_vision import (
    StyleTower,
    encoder_path,
    load_tower,
    normalize_pixels,
    resize_to_square,
)
from megastyle_cli.models.hub import cache_only, revision_of
from megastyle_cli.models.strict_weights import fingerprint


class SiglipEncoder:
    """The pooled output of a SigLIP image tower, normalized; `model` is as in `load_tower`.

    Images are resized to the tower's square by Pillow's bicubic and scaled to [-1, 1], as the
    image processor of transformers does. `dtype` bfloat16, the default on a GPU, computes under
    autocast; rows then have a cosine above 0.9995 with those of float32. Rows are independent of
    their batch as in `BatchedEncoder`. `name` ends with 8 hex digits over the weights.
    """

    def __init__(
        self, model: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> None:
        vision = load_tower(require_model(model, "siglip"))
        self.device = resolve_device(device)
        self.name = f"{model}@{fingerprint(vision.state_dict())}"
        self.revision = revision_of(loaded_path(str(model)))
        self.side_px: int = vision.config.image_size  # type: ignore[assignment]
        self.width = vision.config.hidden_size
        self.dtype = resolve_encoder_dtype(dtype, self.device)
        self.tower = StyleTower(vision, self.dtype).eval().to(self.device)
        patch_px: int = vision.config.patch_size  # type: ignore[assignment]
        tokens = (self.side_px // patch_px) ** 2
        self.batches = BatchedEncoder(self.device, self.width, tokens_per_input=tokens)

    @property
    def preprocessing(self) -> str:
        """What is done to an image, as a sentence."""
        size = f"{self.side_px} x {self.side_px}"
        return f"resized to {size} (bicubic, squashed), mean and deviation 0.5"

    @property
    def batch_size(self) -> int:
        """How many images it takes at once; 1 on a CPU."""
        return self.batches.size

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB images of any size."""
        return self.batches.embed(pictures, self._pixels, self._encode)

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """uint8 (b, 3, side, side), resized by all cores."""
        return torch.stack(
            parallel_map(lambda image: resize_to_square(image, self.side_px), images)
        )

    def _encode(self, pixels: Tensor) -> Tensor:
        rows: Tensor = self.tower(normalize_pixels(pixels.to(self.device)))
        return rows


class ClipEncoder:
    """The projected output of a CLIP image tower, normalized; `model` is as in `load_clip`.

    With a checkpoint of CSD these are its style vectors. The shorter side of an image is resized
    to the tower's side and the center is cropped, see `center_crop`. Rows and `name` are as in
    SiglipEncoder.
    """

    def __init__(
        self, model: str | None = None, device: str | None = None, dtype: str | None = None
    ) -> None:
        vision = load_clip(require_model(model, "clip"))
        self.device = resolve_device(device)
        self.name = f"{model}@{fingerprint(vision.state_dict())}"
        self.side_px: int = vision.config.image_size  # type: ignore[assignment]
        self.width = vision.config.projection_dim
        path = loaded_path(str(model))
        self.is_csd, self.revision = path.is_file(), revision_of(path)
        self.dtype = resolve_encoder_dtype(dtype, self.device)
        self.tower = vision.to(self.device)  # type: ignore[arg-type]
        patch_px: int = vision.config.patch_size  # type: ignore[assignment]
        tokens = (self.side_px // patch_px) ** 2
        self.batches = BatchedEncoder(self.device, self.width, tokens_per_input=tokens)

    @property
    def preprocessing(self) -> str:
        """What is done to an image, as a sentence."""
        return (
            f"shorter side to {self.side_px} px (bicubic), center {self.side_px} x {self.side_px},"
            " CLIP's mean and deviation"
        )

    @property
    def batch_size(self) -> int:
        """How many images it takes at once; 1 on a CPU."""
        return self.batches.size

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB images of any size."""
        return self.batches.embed(pictures, self._pixels, self._encode)

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        """uint8 (b, 3, side, side), resized by all cores."""
        return torch.stack(
            parallel_map(lambda image: center_crop(image, self.side_px, is_csd=self.is_csd), images)
        )

    def _encode(self, pixels: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            rows = self.tower(pixel_values=clip_pixels(pixels.to(self.device))).image_embeds
        return normalize(rows.float())


def loaded_path(model: str) -> Path:
    """Where a model lies that has been loaded: nothing is asked of the hub again."""
    with cache_only():
        return encoder_path(model)


def require_model(model: str | None, backend: str) -> str:
    """`model`. Raises MegastyleError if it is None."""
    if model is None:
        raise MegastyleError(
            f"the {backend} backend needs weights", hint="give --model FOLDER, FILE or hub name"
        )
    return model
