"""Images, pixels and latents: exact where they can be, and scaled as FLUX expects."""

import numpy as np
import torch

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.vae import (
    decode_latents,
    encode_pixels,
    finite_images,
    images_to_pixels,
    pixels_to_images,
    resize_image,
    token_size_px,
)
from tests.conftest import draw
from tests.tiny_flux import save_tiny_flux


def test_latents_are_the_posterior_mean_shifted_and_scaled(tmp_path):
    vae = load_flux(str(save_tiny_flux(tmp_path)), torch.float32).vae
    pixels = images_to_pixels([draw(3, 32, 48)])

    with torch.inference_mode():
        moments = vae.encoder(pixels)
        latents = encode_pixels(vae, pixels)

    assert torch.allclose(latents, (moments[:, :4] - 0.1159) * 0.3611)


def test_images_to_pixels_and_back_is_exact():
    image = draw(3, 32, 48)

    (back,) = pixels_to_images(images_to_pixels([image]))

    assert np.array_equal(np.asarray(back), np.asarray(image))


def test_nan_pixels_fail_their_image_alone():
    pixels = images_to_pixels([draw(3, 32, 48), draw(4, 32, 48)])
    pixels[0, 0, :24] = torch.nan

    failed, image = finite_images(pixels)

    assert isinstance(failed, BadRecord) and failed.kind == "model_error"
    assert "17% of the pixels are NaN" in failed.message
    assert np.array_equal(np.asarray(image), np.asarray(draw(4, 32, 48)))


def test_images_are_squashed_or_cropped_to_shape():
    wide = draw(4, 96, 48)

    squashed = resize_image(wide, (48, 48), keep_aspect=False)
    cropped = resize_image(wide, (48, 48), keep_aspect=True)

    assert np.array_equal(np.asarray(squashed), np.asarray(wide.resize((48, 48), 3)))
    assert np.array_equal(np.asarray(cropped), np.asarray(wide.crop((24, 0, 72, 48))))


@torch.inference_mode()
def test_latents_are_a_token_for_every_16_pixels_and_decode_to_the_size(tmp_path):
    vae = load_flux(str(save_tiny_flux(tmp_path)), torch.float32).vae

    latents = encode_pixels(vae, images_to_pixels([draw(3, 32, 48)]))

    assert token_size_px(vae) == 16
    assert latents.shape == (1, 4, 48 // 8, 32 // 8)
    assert decode_latents(vae, latents).shape == (1, 3, 48, 32)
