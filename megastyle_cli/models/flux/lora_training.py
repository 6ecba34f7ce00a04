"""A LoRA on a FLUX transformer while it is trained: PEFT's layers, tied to the official shape.

The official LoRA adapts q, k and v as one linear (in single blocks the mlp with them), so they
share one down matrix. diffusers has a linear for each; here their down matrices are one parameter,
which makes the same function with the same number of weights. Source: the official trainer.
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
    rows_by_linear,
    target_modules_of,
)
from megastyle_cli.models.flux.model import Transformer

ADAPTER = "default"
KINDS = tuple(native.replace(".", "_") for native, _, _ in (*DOUBLE, *SINGLE))


def select_target_modules(transformer: Transformer, asked: str) -> list[TargetModule]:
    """The modules to adapt: `all` 304 of FLUX.1, or those of the kinds asked for by official stem.

    Kinds are separated by commas, such as img_attn_qkv,txt_attn_qkv,linear1. Raises MegastyleError
    if one is unknown.
    """
    wanted = KINDS if asked == "all" else tuple(asked.split(","))
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        raise MegastyleError(
            f"--targets has {unknown[0]!r}, which FLUX has not",
            hint=f"give all, or some of {','.join(KINDS)}",
        )
    return [
        t
        for t in target_modules_of(transformer)
        if t.official.endswith(tuple(f"_{k}" for k in wanted))
    ]


def attach_lora(
    transformer: Transformer, wanted: Sequence[TargetModule], *, rank: int, alpha: float, seed: int
) -> None:
    """Freezes the transformer and puts a tied LoRA of float32 weights on the `wanted` modules.

    Down matrices are drawn from `seed` on the CPU, up matrices are zero: nothing changes at first.
    """
    transformer.requires_grad_(False)
    names = [name for target in wanted for name in target.diffusers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(
            LoraConfig(r=rank, lora_alpha=alpha, target_modules=names),  # type: ignore[arg-type]
            adapter_name=ADAPTER,
        )
    for target in wanted:
        layers = _layers(transformer, target)
        shared = layers[0].lora_A[ADAPTER].weight
        shared.data = shared.data.float()
        for layer in layers:
            layer.lora_A[ADAPTER].weight = shared
            layer.lora_B[ADAPTER].weight.data = layer.lora_B[ADAPTER].weight.data.float()
            # Under autocast its products are in half precision; to widen their input first only
            # costs memory.
            layer.cast_input_dtype_enabled = False


def load_lora(lora: Lora, transformer: Transformer) -> None:
    """Gives the transformer's LoRA the weights of `lora`, which has the same modules and rank.

    Raises MegastyleError, before any weight is changed, if a shape differs.
    """
    changes: list[tuple[str, nn.Parameter, Tensor]] = []
    for target, factors in lora.items():
        for name, rows in rows_by_linear(target, factors).items():
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


def extract_lora(transformer: Transformer, wanted: Sequence[TargetModule]) -> Lora:
    """The transformer's LoRA in the official shape; its tensors are those that are trained."""
    lora: Lora = {}
    for target in wanted:
        layers = _layers(transformer, target)
        ups = [layer.lora_B[ADAPTER].weight.detach() for layer in layers]
        down = layers[0].lora_A[ADAPTER].weight.detach()
        alpha = layers[0].scaling[ADAPTER] * len(down)
        lora[target] = LoraFactors(down, torch.cat(ups), alpha)
    return lora


def common_rank(lora: Lora, origin: str) -> tuple[int, float]:
    """The rank and alpha of all modules. Raises MegastyleError if they differ.

    They do in a LoRA whose q, k and v were trained apart: as one linear it has three times the
    rank.
    """
    found = sorted({(len(factors.down), factors.alpha) for factors in lora.values()})
    if len(found) > 1:
        told = " and ".join(f"{rank} (alpha {alpha:g})" for rank, alpha in (found[0], found[-1]))
        raise MegastyleError(
            f"{origin} has modules of ranks {told}: its q, k and v do not share their input",
            hint="start from a LoRA of MegaStyle's shape, or without --lora",
        )
    return found[0]


def _layers(transformer: Transformer, target: TargetModule) -> list[Any]:
    return [transformer.get_submodule(name) for name in target.diffusers]
