"""A LoRA on a FLUX transformer in training: PEFT layers whose down matrices are tied.

The official LoRA adapts q, k and v as one linear layer (in single blocks with the MLP), so they
share one down matrix. diffusers has a layer for each; here their down matrices are one parameter,
which gives the same function with the same number of weights. Source: the official trainer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import (
    DOUBLE,
    SINGLE,
    Lora,
    LoraFactors,
    TargetModule,
    rows_by_layer,
    target_modules_of,
)
from megastyle_cli.models.flux.model import Transformer

ADAPTER = "default"
MODULE_KINDS = tuple(native.replace(".", "_") for native, _, _ in (*DOUBLE, *SINGLE))


def select_target_modules(transformer: Transformer, selection: str) -> list[TargetModule]:
    """The modules to adapt: `all` (304 for FLUX.1), or those of the kinds selected.

    Kinds are the ends of official names, separated by commas, such as
    img_attn_qkv,txt_attn_qkv,linear1. Raises MegastyleError if one is unknown.
    """
    kinds = MODULE_KINDS if selection == "all" else tuple(selection.split(","))
    unknown = [kind for kind in kinds if kind not in MODULE_KINDS]
    if unknown:
        raise MegastyleError(
            f"--targets has {unknown[0]!r}, which FLUX does not have",
            hint=f"give all, or some of {','.join(MODULE_KINDS)}",
        )
    suffixes = tuple(f"_{kind}" for kind in kinds)
    return [t for t in target_modules_of(transformer) if t.official.endswith(suffixes)]


def attach_lora(
    transformer: Transformer,
    targets: Sequence[TargetModule],
    *,
    rank: int,
    alpha: float,
    seed: int,
) -> None:
    """Freezes the transformer and adds a tied float32 LoRA to the modules `targets`.

    Down matrices are drawn from `seed` on the CPU, up matrices are zero, so that the output is
    unchanged at first. The global random generator is left as it was.
    """
    transformer.requires_grad_(False)
    names = [name for target in targets for name in target.diffusers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(r=rank, lora_alpha=alpha, target_modules=names),  # type: ignore[arg-type]
            adapter_name=ADAPTER,
        )
    for target in targets:
        layers = _layers(transformer, target)
        shared = layers[0].lora_A[ADAPTER].weight
        shared.data = shared.data.float()
        for layer in layers:
            layer.lora_A[ADAPTER].weight = shared
            layer.lora_B[ADAPTER].weight.data = layer.lora_B[ADAPTER].weight.data.float()
            # Autocast computes the products in half precision; casting the input to float32 first
            # would only cost memory.
            layer.cast_input_dtype_enabled = False


def load_lora(lora: Lora, transformer: Transformer) -> None:
    """Copies `lora` into the attached LoRA, which has the same modules and rank.

    Raises MegastyleError, before any weight is changed, if a shape differs.
    """
    changes: list[tuple[str, nn.Parameter, Tensor]] = []
    for target, factors in lora.items():
        for name, rows in rows_by_layer(target, factors).items():
            layer = transformer.get_submodule(name)
            changes.append((name, layer.lora_A[ADAPTER].weight, factors.down))
            changes.append((name, layer.lora_B[ADAPTER].weight, rows))
    for name, weight, new in changes:
        if weight.shape != new.shape:
            raise MegastyleError(
                f"the LoRA has {' x '.join(map(str, new.shape))} weights for {name},"
                f" this model and rank take {' x '.join(map(str, weight.shape))}",
                hint="give the LoRA that was trained on this model",
            )
    with torch.no_grad():
        for _, weight, new in changes:
            weight.copy_(new)


def extract_lora(transformer: Transformer, targets: Sequence[TargetModule]) -> Lora:
    """The attached LoRA in the official shape; its down matrices are the trained tensors."""
    lora: Lora = {}
    for target in targets:
        layers = _layers(transformer, target)
        ups = [layer.lora_B[ADAPTER].weight.detach() for layer in layers]
        down = layers[0].lora_A[ADAPTER].weight.detach()
        alpha = layers[0].scaling[ADAPTER] * len(down)
        lora[target] = LoraFactors(down, torch.cat(ups), alpha)
    return lora


def common_rank(lora: Lora, origin: str) -> tuple[int, float]:
    """The rank and alpha that all modules have.

    Raises MegastyleError if they differ, as in a LoRA whose q, k and v were trained separately: as
    one layer it has three times the rank.
    """
    found = sorted({(len(factors.down), factors.alpha) for factors in lora.values()})
    if len(found) > 1:
        ends = " and ".join(f"{rank} (alpha {alpha:g})" for rank, alpha in (found[0], found[-1]))
        raise MegastyleError(
            f"{origin} has modules of ranks {ends}: its q, k and v do not share their input",
            hint="start from a LoRA of MegaStyle's shape, or without --lora",
        )
    return found[0]


def _layers(transformer: Transformer, target: TargetModule) -> list[Any]:
    return [transformer.get_submodule(name) for name in target.diffusers]
