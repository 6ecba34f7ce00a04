"""Images to FLUX latents and back: pixels, the autoencoder's mean, its shift and scale."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.Image import Resampling
from torch import Tensor

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.autoencoder_memory import within_memory
from megastyle_cli.models.image_size import Size

# b images, c latent channels, h w latent rows and columns

Autoencoder = Any  # a diffusers AutoencoderKL: diffusers has no types to check


def token_size_px(vae: Autoencoder) -> int:
    """The side of a token in pixels: 16 for FLUX.1, 8 per latent and 2 latents per token."""
    side_px: int = 2 ** len(vae.config.block_out_channels)
    return side_px


def resize_image(image: Image.Image, size: Size, *, keep_aspect: bool) -> Image.Image:
    """`image` at `size`, bicubic: squashed, or with `keep_aspect` cropped around its center."""
    if keep_aspect:
        return ImageOps.fit(image, size, Resampling.BICUBIC)
    return image.resize(size, Resampling.BICUBIC)


def images_to_pixels(images: Sequence[Image.Image]) -> Tensor:
    """RGB images of one size as float32 (b, 3, height, width) in [-1, 1]."""
    stacked = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels_to_images(pixels: Tensor) -> list[Image.Image]:
    """Pixels (b, 3, height, width) in [-1, 1] as RGB images; values outside are clipped."""
    values = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [Image.fromarray(rows) for rows in values.permute(0, 2, 3, 1).cpu().numpy()]


def finite_images(pixels: Tensor) -> list[Image.Image | BadRecord]:
    """Like `pixels_to_images`, with a BadRecord (model_error) for an image with NaN or infinity."""
    shares = (~pixels.isfinite()).flatten(1).double().mean(1).tolist()  # (b,)
    return [
        BadRecord(
            "model_error",
            f"{share:.0%} of the pixels are NaN: try --dtype float32 or bfloat16, or"
            " without --lora",
        )
        if share
        else image
        for share, image in zip(shares, pixels_to_images(pixels), strict=True)
    ]


def encode_pixels(vae: Autoencoder, pixels: Tensor) -> Tensor:
    """The latents (b, c, h, w) of pixels: the mean of the posterior, never a sample."""
    mean = within_memory(vae, lambda: vae.encode(pixels.to(vae.dtype)).latent_dist.mode())
    latents: Tensor = (mean - vae.config.shift_factor) * vae.config.scaling_factor
    return latents


def decode_latents(vae: Autoencoder, latents: Tensor) -> Tensor:
    """The pixels (b, 3, 8h, 8w), about [-1, 1], of latents (b, c, h, w); one image at a time."""
    unscaled = (latents / vae.config.scaling_factor + vae.config.shift_factor).to(vae.dtype)

    def decode(one: Tensor) -> Tensor:
        return within_memory(vae, lambda: vae.decode(one, return_dict=False)[0])

    return torch.cat([decode(one) for one in unscaled.split(1)])
