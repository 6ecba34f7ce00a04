"""Pictures to unit style vectors with a SigLIP image tower: the paper's encoder, or one of ours."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.tower import StyleTower, read_tower

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
BATCH = 32


class SiglipEncoder:
    """The pooled output of a SigLIP image tower, normalised; see `read_tower` for what `model` is.

    Pictures are squashed to the tower's square, Pillow's bicubic, and scaled to [-1, 1], which is
    what the image processor of transformers does. On a CPU pictures are embedded one at a time, so
    that a row depends on its picture alone, bit for bit; elsewhere batches agree up to rounding.
    `name` ends with 8 hex digits over the weights.
    """

    def __init__(self, model: str | None = None, device: str | None = None) -> None:
        if model is None:
            raise MegastyleError(
                "the siglip backend needs weights", hint="give --model FOLDER, FILE or hub name"
            )
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        vision = read_tower(model)
        self.name = f"{model}@{_fingerprint(vision.state_dict())}"
        self.side_px: int = vision.config.image_size  # type: ignore[assignment]
        self.width = vision.config.hidden_size
        self.tower = StyleTower(vision).eval().to(self.device)

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, d) float32 of RGB pictures of any size."""
        size = 1 if self.device.type == "cpu" else BATCH
        rows = [
            self._embedded(pictures[start : start + size])
            for start in range(0, len(pictures), size)
        ]
        return np.concatenate(rows) if rows else np.empty((0, self.width), np.float32)

    @torch.inference_mode()
    def _embedded(self, pictures: Sequence[Image.Image]) -> Array:
        pixels = torch.stack([squashed(picture, self.side_px) for picture in pictures])
        rows: Array = self.tower(scaled(pixels.to(self.device))).cpu().numpy()
        return rows


def squashed(picture: Image.Image, side_px: int) -> Tensor:
    """The picture as uint8 (3, side, side), its aspect lost; bicubic, as SigLIP's processor."""
    small = picture.resize((side_px, side_px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)


def scaled(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]: mean 0.5, deviation 0.5."""
    return (pixels.float() / 255 - 0.5) / 0.5


def _fingerprint(weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, w in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(w.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]
