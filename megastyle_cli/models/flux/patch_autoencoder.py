"""A small autoencoder of patches, for FLUX models of CPU size: most of its work is on few cells.

An AutoencoderKL spends its time at the full size of a picture; here 8 x 8 pixels become one cell at
once, and all layers work on cells, where a CPU multiplies wide matrices. A straight path carries
the patch's principal components, layers beside it what they lack. Deterministic: its guess is its
mean. Ours.
"""

from types import SimpleNamespace
from typing import Any

from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional

# b pictures, p pixels of a patch's side, c latent channels, h w cells (pixels / p)

BASE: Any = ModelMixin
CONFIG: Any = ConfigMixin
remembered: Any = register_to_config


class PatchAutoencoder(BASE, CONFIG):  # type: ignore[misc]
    """Pictures to latents (b, c, h, w) and back, with the calls of an AutoencoderKL.

    `block_out_channels` counts the halvings as an AutoencoderKL's does: four make patches of 8 px.
    """

    config_name = "config.json"

    @remembered  # type: ignore[untyped-decorator]
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
        numbers, width = 3 * self.patch_px**2, block_out_channels[-1]
        self.straight_in = nn.Conv2d(numbers, latent_channels, 1)
        self.straight_out = nn.Conv2d(latent_channels, numbers, 1)
        self.encoder = _layers(numbers, width, latent_channels, 1)
        self.decoder = _layers(latent_channels, width, numbers, num_blocks)

    def encode(self, pixels: Tensor) -> Any:
        """Pixels (b, 3, p * h, p * w) in [-1, 1]; the latents are `.latent_dist.mode()`."""
        patches = functional.pixel_unshuffle(pixels, self.patch_px)  # (b, 3p^2, h, w)
        latents = self.straight_in(patches) + self.encoder(patches)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, latents: Tensor, return_dict: bool = True) -> Any:
        """Pixels (b, 3, p * h, p * w) of latents, as `.sample` or the one item of a tuple."""
        patches = self.straight_out(latents) + self.decoder(latents)
        pixels = functional.pixel_shuffle(patches, self.patch_px)
        return SimpleNamespace(sample=pixels) if return_dict else (pixels,)


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside the straight path."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, cells: Tensor) -> Tensor:
        changed: Tensor = self.second(functional.silu(self.first(functional.silu(cells))))
        return cells + changed


def _layers(numbers_in: int, width: int, numbers_out: int, num_blocks: int) -> nn.Sequential:
    """From cells to cells; the last layer begins at zero."""
    last = nn.Conv2d(width, numbers_out, 1)
    for weight in last.parameters():
        nn.init.zeros_(weight)
    blocks = [_Block(width) for _ in range(num_blocks)]
    return nn.Sequential(nn.Conv2d(numbers_in, width, 3, padding=1), *blocks, nn.SiLU(), last)
