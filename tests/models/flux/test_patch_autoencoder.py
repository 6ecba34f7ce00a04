"""The patch autoencoder: exact where it can be, as wide as it says, read strictly."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from megastyle_cli.models.flux.vae import decode_latents, encode_pixels, token_size_px
from megastyle_cli.models.text_to_image.pipeline_loader import load_part

HALVINGS = (3, 12, 32)  # patches of 4 px, layers of width 32


def test_as_many_latents_as_pixels_on_the_straight_path_give_the_picture_back():
    vae = PatchAutoencoder(48, HALVINGS)
    turned, _ = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        vae.straight_in.weight.copy_(turned[..., None, None])
        vae.straight_out.weight.copy_(turned.T[..., None, None])
        for layer in (vae.straight_in, vae.straight_out):
            layer.bias.zero_()
        vae.register_to_config(shift_factor=0.25, scaling_factor=2.0)
        pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
        latents = encode_pixels(vae, pixels)
        again = decode_latents(vae, latents)

    assert latents.shape == (2, 48, 4, 6)
    assert torch.allclose(again, pixels, atol=1e-5)


def test_a_token_is_as_wide_as_it_says():
    vae = PatchAutoencoder(8, HALVINGS)

    assert token_size_px(vae) == 2 * vae.patch_px == 8


def test_a_weight_too_few_is_refused(tmp_path):
    PatchAutoencoder(8, HALVINGS).save_pretrained(tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    weights = load_file(file)
    del weights["straight_out.bias"]
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"straight_out\.bias"):
        load_part(PatchAutoencoder, tmp_path, torch.float32)
