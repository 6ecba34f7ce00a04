"""Augmentation of the style encoder's images, on the device: horizontal flips and square crops."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from megastyle_cli.core.record import record_seed
from megastyle_cli.models.encoders.siglip_vision import normalize_pixels

# b images of a rank, s decoded side

CROP_MARGIN = 7 / 6  # images to be cropped are decoded larger than the encoder's input by this


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Horizontal flips, and square crops of at least `crop_area` of an image; ours."""

    flip: bool = True
    crop_area: float = 0.5

    def decoded_px(self, side_px: int) -> int:
        """The side to decode at for an encoder whose input has `side_px`."""
        return round(side_px * CROP_MARGIN) if self.crop_area < 1 else side_px

    def draws(self, seed: int, step: int, size: int) -> Tensor:
        """Random numbers (size, 4) in [0, 1) for a global batch: flip, area, left, top.

        A function of seed, step and row, so the augmentation is the same in every world size.
        """
        rng = np.random.default_rng(record_seed(seed, "crops", step))
        return torch.from_numpy(rng.random((size, 4), np.float32))


@dataclass(frozen=True)
class AugmentedImages:
    """Decoded images of a rank on its device, augmented when sliced; a slice is always the same."""

    pixels: Tensor  # uint8 (b, 3, s, s)
    draws: Tensor  # (b, 4)
    augmentation: Augmentation
    side_px: int

    def __getitem__(self, rows: slice) -> Tensor:
        """float32 (rows, 3, side, side) in [-1, 1]."""
        return augment(self.pixels[rows], self.draws[rows], self.augmentation, self.side_px)


def augment(pixels: Tensor, draws: Tensor, augmentation: Augmentation, side_px: int) -> Tensor:
    """float32 images (b, 3, side, side) in [-1, 1] from uint8 ones (b, 3, s, s), on the device.

    `draws` is (b, 4) in [0, 1). Crops are square, with an area between `crop_area` and 1 of the
    image, resampled bilinearly; without crops nothing is resampled.
    """
    images = normalize_pixels(pixels.contiguous())
    if augmentation.crop_area == 1:
        if augmentation.flip:
            images = torch.where(draws[:, 0, None, None, None] < 0.5, images.flip(3), images)
        return images
    area = augmentation.crop_area + (1 - augmentation.crop_area) * draws[:, 1]
    scale = area.sqrt()  # of the side
    mirror = torch.where(draws[:, 0] < 0.5, -1.0, 1.0) if augmentation.flip else 1.0
    center = (2 * draws[:, 2:] - 1) * (1 - scale[:, None])  # (b, 2) in [-1, 1]: x, y
    theta = draws.new_zeros(len(draws), 2, 3)
    theta[:, 0, 0] = scale * mirror
    theta[:, 1, 1] = scale
    theta[:, :, 2] = center
    grid = functional.affine_grid(theta, [len(draws), 3, side_px, side_px], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
