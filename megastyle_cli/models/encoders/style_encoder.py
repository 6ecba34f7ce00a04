"""Pictures to unit style vectors with the image tower of a SigLIP (the paper's, ours) or a CLIP."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import chosen_device
from megastyle_cli.models.encoders.batching import Array, rows_of
from megastyle_cli.models.encoders.clip_vision import centred, read_clip, standardised
from megastyle_cli.models.encoders.siglip_vision import StyleTower, read_tower
from megastyle_cli.models.strict_weights import fingerprint


class SiglipEncoder:
    """The pooled output of a SigLIP image tower, normalised; see `read_tower` for what `model` is.

    Pictures are squashed to the tower's square, Pillow's bicubic, and scaled to [-1, 1], which is
    what the image processor of transformers does. Rows are independent of their batch as `rows_of`
    has it. `name` ends with 8 hex digits over the weights.
    """

    def __init__(self, model: str | None = None, device: str | None = None) -> None:
        vision = read_tower(named(model, "siglip"))
        self.device = chosen_device(device)
        self.name = f"{model}@{fingerprint(vision.state_dict())}"
        self.side_px: int = vision.config.image_size  # type: ignore[assignment]
        self.width = vision.config.hidden_size
        self.tower = StyleTower(vision).eval().to(self.device)

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB pictures of any size."""
        return rows_of(self._embedded, pictures, self.device, self.width)

    def _embedded(self, pictures: Sequence[Image.Image]) -> Tensor:
        pixels = torch.stack([squashed(picture, self.side_px) for picture in pictures])
        rows: Tensor = self.tower(scaled(pixels.to(self.device)))
        return rows


class ClipEncoder:
    """The projected output of a CLIP image tower, normalised; see `read_clip` for what `model` is.

    With a checkpoint of CSD these are its style vectors. The shorter side of a picture is made the
    tower's and the middle cut out, as the image processor of transformers does. Rows and `name`
    are as in SiglipEncoder.
    """

    def __init__(self, model: str | None = None, device: str | None = None) -> None:
        vision = read_clip(named(model, "clip"))
        self.device = chosen_device(device)
        self.name = f"{model}@{fingerprint(vision.state_dict())}"
        self.side_px: int = vision.config.image_size  # type: ignore[assignment]
        self.width = vision.config.projection_dim
        self.tower = vision.to(self.device)  # type: ignore[arg-type]

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB pictures of any size."""
        return rows_of(self._embedded, pictures, self.device, self.width)

    def _embedded(self, pictures: Sequence[Image.Image]) -> Tensor:
        pixels = torch.stack([centred(picture, self.side_px) for picture in pictures])
        rows = self.tower(pixel_values=standardised(pixels.to(self.device))).image_embeds
        return normalize(rows)


def named(model: str | None, backend: str) -> str:
    """The model. Raises MegastyleError if none is named."""
    if model is None:
        raise MegastyleError(
            f"the {backend} backend needs weights", hint="give --model FOLDER, FILE or hub name"
        )
    return model


def squashed(picture: Image.Image, side_px: int) -> Tensor:
    """The picture as uint8 (3, side, side), its aspect lost; bicubic, as SigLIP's processor."""
    small = picture.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def scaled(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]: mean 0.5, deviation 0.5."""
    return (pixels.float() / 255 - 0.5) / 0.5
