"""Augmentation: crops and flips stay within the image and are a function of seed and step."""

import numpy as np
import torch

from megastyle_cli.training.encoder.augment import Augmentation, AugmentedImages, augment


def gradient_image(side=64):
    across = np.tile(np.linspace(0, 255, side), (side, 1))
    return torch.from_numpy(np.stack([across, across.T, across * 0]).astype(np.uint8))[None]


def test_flips_and_crops_stay_within_the_image():
    pixels = gradient_image().repeat(200, 1, 1, 1)
    augmentation = Augmentation(crop_area=0.5)

    draws = augmentation.draws(seed=1, step=2, size=200)
    shown = augment(pixels, draws, augmentation, 32)

    assert shown.shape == (200, 3, 32, 32) and shown.abs().max() <= 1
    across = (
        shown[:, 0, 0, -1] - shown[:, 0, 0, 0]
    )  # its sign is the flip, its magnitude the crop's side
    down = shown[:, 1, -1, 0] - shown[:, 1, 0, 0]
    assert 60 < (across < 0).sum() < 140 and (down > 0).all()
    area = (down / (2 * 31 / 32)) ** 2
    assert area.min() > 0.45 and area.max() < 1.05 and area.std() > 0.1
    assert torch.allclose(across.abs(), down, atol=0.05)  # square


def test_draws_are_a_function_of_seed_and_step():
    augmentation = Augmentation()
    draws = [augmentation.draws(seed, step, 8) for seed, step in ((1, 1), (1, 1), (1, 2), (2, 1))]

    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2]) and not torch.equal(draws[0], draws[3])


def test_without_crop_and_flip_the_pixels_are_unchanged():
    augmentation = Augmentation(flip=False, crop_area=1)
    pixels = gradient_image(32)

    shown = augment(pixels, augmentation.draws(0, 0, 1), augmentation, 32)

    assert augmentation.decoded_px(32) == 32
    assert torch.equal(((shown + 1) * 127.5).round().to(torch.uint8), pixels)


def test_a_slice_is_the_same_each_time_and_equals_those_rows_of_the_whole():
    pixels = gradient_image(38).repeat(6, 1, 1, 1)
    augmentation = Augmentation(crop_area=0.5)
    images = AugmentedImages(pixels, augmentation.draws(0, 3, 6), augmentation, 32)

    assert torch.equal(images[2:5], images[2:5])
    assert torch.allclose(images[2:5], images[0:6][2:5], atol=1e-6)
