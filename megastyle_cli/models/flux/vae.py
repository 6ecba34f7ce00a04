"""Pictures to FLUX latents and back: sizes, pixels, the autoencoder's mean, shift and scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling
from torch import Tensor

from megastyle_cli.core.errors import BadRecord

Size = tuple[int, int]  # width, height in pixels
Autoencoder = Any  # a diffusers AutoencoderKL: diffusers has no types to check


def round_up(size: Size, multiple: int) -> Size:
    """`size` with both sides rounded up to a multiple, as the official code does."""
    width, height = (-(-side // multiple) * multiple for side in size)
    return width, height


def token_size_px(vae: Autoencoder) -> int:
    """How many pixels a token is wide and high: 16 for FLUX, 8 a latent and 2 latents a token."""
    side: int = 2 ** len(vae.config.block_out_channels)
    return side


def resize_image(picture: Image.Image, size: Size, *, keep_aspect: bool) -> Image.Image:
    """The picture at `size`, bicubic: squashed, or cut to that shape around its middle."""
    if keep_aspect:
        return ImageOps.fit(picture, size, Resampling.BICUBIC)
    return picture.resize(size, Resampling.BICUBIC)


def images_to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """RGB pictures of one size as float32 (b, 3, height, width) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels_to_images(pixels: Tensor) -> list[Image.Image]:
    """Pixels (b, 3, height, width) in [-1, 1] as RGB pictures; what lies outside is cut."""
    whole = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(rows) for rows in whole.permute(0, 2, 3, 1).cpu().numpy()]


def finite_images(pixels: Tensor) -> list[Image.Image | BadRecord]:
    """As `pixels_to_images`, a BadRecord (model_error) where some pixels are no numbers."""
    lost = (~pixels.isfinite()).flatten(1).double().mean(1).tolist()  # (b), shares
    pictures = pixels_to_images(pixels)
    return [
        _no_numbers(share) if share else picture
        for share, picture in zip(lost, pictures, strict=True)
    ]


def _no_numbers(share: float) -> BadRecord:
    return BadRecord(
        "model_error",
        f"{share:.0%} of the pixels are no numbers (NaN): try --dtype float32 or bfloat16, or"
        " without --lora",
    )


def encode_pixels(vae: Autoencoder, pixels: Tensor) -> Tensor:
    """The latents (b, c, h, w) of pixels: the mean of the autoencoder's guess, never a draw."""
    mean: Tensor = vae.encode(pixels.to(vae.dtype)).latent_dist.mode()
    latents: Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    return latents


def decode_latents(vae: Autoencoder, latents: Tensor) -> Tensor:
    """The pixels (b, 3, 8h, 8w), about [-1, 1], of latents (b, c, h, w)."""
    raw = latents / vae.config.scaling_factor + vae.config.shift_factor
    pixels: Tensor = vae.decode(raw.to(vae.dtype), return_dict=False)[0]
    return pixels
