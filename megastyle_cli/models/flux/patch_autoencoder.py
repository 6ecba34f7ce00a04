"""A small autoencoder of image patches, for FLUX models that run on a CPU.

An AutoencoderKL spends its time at the full size of an image. Here 8 x 8 pixels become one cell at
once, and all layers work on cells, where a CPU multiplies wide matrices. A linear path carries the
principal components of the patch; convolutions beside it add the rest. Deterministic: the posterior
is its mean. Ours.
"""

from types import SimpleNamespace
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

# b images, p side of a patch in pixels, c latent channels, h w rows and columns of cells

MODEL_BASE: Any = ModelMixin
CONFIG_BASE: Any = ConfigMixin
saved_in_config: Any = register_to_config


class PatchAutoencoder(MODEL_BASE, CONFIG_BASE):  # type: ignore[misc]
    """Images to latents (b, c, h, w) and back, with the methods of an AutoencoderKL.

    `block_out_channels` counts the halvings as an AutoencoderKL does: four give patches of 8 px.
    """

    config_name = "config.json"

    @saved_in_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        latent_channels: int = 16,
        block_out_channels: tuple[int, ...] = (3, 12, 48, 256),
        num_blocks: int = 1,
        shift_factor: float = 0.0,
        scaling_factor: float = 1.0,
    ) -> None:
        super().__init__()
        self.patch_px = 2 ** (len(block_out_channels) - 1)
        patch_values, width = 3 * self.patch_px**2, block_out_channels[-1]
        # the attributes' names are those of the weights in saved files
        self.straight_in = nn.Conv2d(patch_values, latent_channels, 1)
        self.straight_out = nn.Conv2d(latent_channels, patch_values, 1)
        self.encoder = _layers(patch_values, width, latent_channels, 1)
        self.decoder = _layers(latent_channels, width, patch_values, num_blocks)

    def encode(self, pixels: Tensor) -> Any:
        """Pixels (b, 3, p * h, p * w) in [-1, 1]; the latents are `.latent_dist.mode()`."""
        patches = functional.pixel_unshuffle(pixels, self.patch_px)  # (b, 3p^2, h, w)
        latents = self.straight_in(patches) + self.encoder(patches)  # (b, c, h, w)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents: Tensor, return_dict: bool = True) -> Any:
        """Pixels (b, 3, p * h, p * w) of latents, as `.sample` or as the one item of a tuple."""
        patches = self.straight_out(latents) + self.decoder(latents)  # (b, 3p^2, h, w)
        pixels = functional.pixel_shuffle(patches, self.patch_px)  # (b, 3, p * h, p * w)
        return SimpleNamespace(sample=pixels) if return_dict else (pixels,)


class _Block(nn.Module):
    """A residual block of two 3 x 3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, cells: Tensor) -> Tensor:
        change: Tensor = self.second(functional.silu(self.first(functional.silu(cells))))
        return cells + change


def _layers(channels_in: int, width: int, channels_out: int, num_blocks: int) -> nn.Sequential:
    """Cells to cells; the last layer starts at zero."""
    last = nn.Conv2d(width, channels_out, 1)
    for weight in last.parameters():
        nn.init.zeros_(weight)
    blocks = [_Block(width) for _ in range(num_blocks)]
    return nn.Sequential(nn.Conv2d(channels_in, width, 3, padding=1), *blocks, nn.SiLU(), last)
