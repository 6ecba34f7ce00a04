"""The patch autoencoder: its linear path can be exact, its weights load strictly."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from megastyle_cli.models.flux.vae import decode_latents, encode_pixels, token_size_px
from megastyle_cli.models.text_to_image.pipeline_loader import load_part

HALVINGS = (3, 12, 32)  # patches of 4 px, layers of width 32


def test_with_as_many_latents_as_pixels_an_orthogonal_linear_path_is_exact():
    vae = PatchAutoencoder(48, HALVINGS)
    rotation, _ = torch.linalg.qr(torch.randn(48, 48, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        vae.straight_in.weight.copy_(rotation[..., None, None])
        vae.straight_out.weight.copy_(rotation.T[..., None, None])
        for layer in (vae.straight_in, vae.straight_out):
            layer.bias.zero_()
        vae.register_to_config(shift_factor=0.25, scaling_factor=2.0)
        pixels = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
        latents = encode_pixels(vae, pixels)
        decoded = decode_latents(vae, latents)

    assert latents.shape == (2, 48, 4, 6)
    assert torch.allclose(decoded, pixels, atol=1e-5)


def test_a_token_is_two_patches_wide():
    vae = PatchAutoencoder(8, HALVINGS)

    assert token_size_px(vae) == 2 * vae.patch_px == 8


def test_a_missing_weight_raises_with_its_name(tmp_path):
    PatchAutoencoder(8, HALVINGS).save_pretrained(tmp_path)
    file = next(tmp_path.glob("*.safetensors"))
    weights = load_file(file)
    del weights["straight_out.bias"]
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"straight_out\.bias"):
        load_part(PatchAutoencoder, tmp_path, torch.float32)
