"""LoRAs of FLUX: the modules they adapt, their low-rank factors, and fusing them into the weights.

A LoRA has the official shape inside the toolkit: q, k and v are one linear layer, in single blocks
with the MLP, so they share one down matrix; 304 modules for FLUX.1. diffusers has a layer for each.
Source: the key table of the official exporter.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer

# r rank, i input width, o output width

# The module's name at Black Forest Labs, in DiffSynth, and its layers in diffusers, in row order
DOUBLE = (
    ("img_mod.lin", "norm1_a.linear", ("norm1.linear",)),
    ("txt_mod.lin", "norm1_b.linear", ("norm1_context.linear",)),
    ("img_attn.qkv", "attn.a_to_qkv", ("attn.to_q", "attn.to_k", "attn.to_v")),
    ("txt_attn.qkv", "attn.b_to_qkv", ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")),
    ("img_attn.proj", "attn.a_to_out", ("attn.to_out.0",)),
    ("txt_attn.proj", "attn.b_to_out", ("attn.to_add_out",)),
    ("img_mlp.0", "ff_a.0", ("ff.net.0.proj",)),
    ("img_mlp.2", "ff_a.2", ("ff.net.2",)),
    ("txt_mlp.0", "ff_b.0", ("ff_context.net.0.proj",)),
    ("txt_mlp.2", "ff_b.2", ("ff_context.net.2",)),
)
SINGLE = (
    ("modulation.lin", "norm.linear", ("norm.linear",)),
    ("linear1", "to_qkv_mlp", ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")),
    ("linear2", "proj_out", ("proj_out",)),
)


@dataclass(frozen=True)
class TargetModule:
    """A linear layer that LoRAs adapt: its name at Black Forest Labs, in DiffSynth, in diffusers.

    `swapped` means that DiffSynth and diffusers exchange the two halves of its rows.
    """

    native: str
    diffsynth: str
    diffusers: tuple[str, ...]
    swapped: bool = False

    @property
    def official(self) -> str:
        """Its name in the official key format."""
        return f"lora_unet_{self.native.replace('.', '_')}"


# MegaStyle does not adapt these, other LoRAs do. The last modulation is shift, scale at Black
# Forest Labs and scale, shift elsewhere.
LAST_LAYER = (
    TargetModule(
        "final_layer.adaLN_modulation.1", "final_norm_out.linear", ("norm_out.linear",), True
    ),
    TargetModule("final_layer.linear", "final_proj_out", ("proj_out",)),
)


@dataclass(frozen=True)
class LoraFactors:
    """The change of one weight (o, i): alpha / r * up @ down, with `down` (r, i), `up` (o, r)."""

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def scale(self) -> float:
        """The factor of up @ down: 1 in official files, where alpha is the rank."""
        return self.alpha / len(self.down)


Lora = dict[TargetModule, LoraFactors]


def target_modules(num_double: int = 19, num_single: int = 38) -> list[TargetModule]:
    """The modules of the official LoRA: 10 in a double block, 3 in a single; 304 for FLUX.1."""
    kinds = (
        ("double_blocks", "blocks", "transformer_blocks", num_double, DOUBLE),
        ("single_blocks", "single_blocks", "single_transformer_blocks", num_single, SINGLE),
    )
    return [
        TargetModule(
            f"{native_blocks}.{block}.{native}",
            f"{diffsynth_blocks}.{block}.{diffsynth}",
            tuple(f"{diffusers_blocks}.{block}.{name}" for name in names),
        )
        for native_blocks, diffsynth_blocks, diffusers_blocks, count, modules in kinds
        for block in range(count)
        for native, diffsynth, names in modules
    ]


def target_modules_of(transformer: Transformer) -> list[TargetModule]:
    """The official LoRA's modules in this transformer."""
    return target_modules(transformer.config.num_layers, transformer.config.num_single_layers)


def rows_by_layer(target: TargetModule, factors: LoraFactors) -> dict[str, Tensor]:
    """The rows of `up` for each diffusers layer: q, k and v are square, the MLP takes the rest."""
    names = target.diffusers
    if len(names) == 1:
        return {names[0]: swap_halves(factors.up) if target.swapped else factors.up}
    width = factors.down.shape[1]
    sizes = [width] * 3 + [len(factors.up) - 3 * width] * (len(names) - 3)
    return dict(zip(names, torch.split(factors.up, sizes), strict=True))


def swap_halves(rows: Tensor) -> Tensor:
    """`rows` with the second half first."""
    return torch.cat(rows.chunk(2)[::-1])


def fuse_lora(
    lora: Lora,
    transformer: Transformer,
    strength: float = 1.0,
    device: torch.device | None = None,
) -> None:
    """Adds `strength` times the LoRA to the transformer's weights, in the weights' own dtype.

    The products are computed on `device`, by default where the weights are. Raises MegastyleError,
    before any weight is changed, if a shape does not fit.
    """
    changes = [
        (name, transformer.get_submodule(name).weight, factors.down, rows, factors.scale)
        for target, factors in lora.items()
        for name, rows in rows_by_layer(target, factors).items()
    ]
    for name, weight, down, rows, _ in changes:
        shape = (len(rows), down.shape[1])
        if weight.shape != shape:
            raise MegastyleError(
                f"the LoRA has {shape[0]} x {shape[1]} weights for {name},"
                f" the model has {weight.shape[0]} x {weight.shape[1]}",
                hint="give the LoRA that was trained on this model",
            )
    with torch.no_grad():
        for _, weight, down, rows, scale in changes:
            at = device or weight.device
            product = rows.to(at, weight.dtype) @ down.to(at, weight.dtype)
            weight += (strength * scale * product).to(weight.device)
