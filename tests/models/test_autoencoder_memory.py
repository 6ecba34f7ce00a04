"""An autoencoder that runs out of memory continues in tiles, and says so."""

import pytest
import torch
from diffusers import AutoencoderKL

from megastyle_cli.models.autoencoder_memory import tile, within_memory
from megastyle_cli.models.flux.vae import decode_latents, encode_pixels

LARGEST_PX = 64  # of a tile, in this test


class SmallMemory(AutoencoderKL):
    """Has memory for images of LARGEST_PX."""

    def _encode(self, x):
        return self._checked(super()._encode, x, max(x.shape[2:]))

    def tiled_encode(self, x):
        assert max(x.shape[2:]) > LARGEST_PX
        return super().tiled_encode(x)

    def _checked(self, run, tensor, side_px):
        if side_px > LARGEST_PX and not self.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(tensor)

    def _decode(self, z, return_dict=True):
        if 2 * max(z.shape[2:]) > LARGEST_PX and not self.use_tiling:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super()._decode(z, return_dict=return_dict)


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    made = SmallMemory(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=LARGEST_PX,
        shift_factor=0.1,
        scaling_factor=0.4,
    )
    return made.eval()


@torch.no_grad()
def test_a_large_image_is_encoded_and_decoded_in_tiles(autoencoder, caplog):
    pixels = torch.rand(2, 3, 160, 160) * 2 - 1

    latents = encode_pixels(autoencoder, pixels)
    decoded = decode_latents(autoencoder, latents)

    assert latents.shape == (2, 4, 80, 80) and decoded.shape == pixels.shape
    assert len(caplog.records) == 1 and "in tiles" in caplog.text
    # inside the tiles nothing but the normalization over an image differs
    autoencoder.use_tiling = False
    whole = AutoencoderKL._encode(autoencoder, pixels)[:, :4]
    assert (
        torch.nn.functional.cosine_similarity(
            whole.flatten(), (latents / 0.4 + 0.1).flatten(), dim=0
        )
        > 0.9
    )


@torch.no_grad()
def test_an_image_that_fits_is_processed_whole_and_alone(autoencoder):
    latents = encode_pixels(autoencoder, torch.rand(3, 3, 64, 64))

    together = decode_latents(autoencoder, latents)

    assert not autoencoder.use_tiling
    assert torch.equal(together[1:2], decode_latents(autoencoder, latents[1:2]))


def test_memory_that_is_too_small_for_tiles_is_reported(autoencoder):
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        within_memory(autoencoder, fail)
    assert not tile(autoencoder)  # it works in tiles already


def test_other_errors_are_raised_and_change_nothing(autoencoder):
    def fail():
        raise RuntimeError("wrong shape")

    with pytest.raises(RuntimeError, match="wrong shape"):
        within_memory(autoencoder, fail)
    assert not autoencoder.use_tiling
