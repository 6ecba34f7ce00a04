"""A FLUX LoRA in the key forms of its users, read to the last tensor and fused into a transformer.

Four forms say the same: official (kohya's `lora_unet_double_blocks_0_img_attn_qkv`, which ComfyUI
reads too), PEFT over Black Forest Labs' modules (`diffusion_model.double_blocks.0.img_attn.qkv`,
ComfyUI's generic form), raw DiffSynth (`blocks.0.attn.a_to_qkv.lora_A.default`) and diffusers
(`transformer.transformer_blocks.0.attn.to_q`). All but diffusers adapt q, k and v as one linear,
and the single blocks' mlp with them; diffusers has a linear for each. Inside the toolkit a LoRA has
the official shape: 304 modules for FLUX.1, the rank-r input shared by q, k, v. Source: the official
exporter's table.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.choices import HOW_TO_FETCH_LORA
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.tensor_files import write_safetensors

# r rank, i width in, o width out
Weights = dict[str, Tensor]
log = logging.getLogger(__name__)
KeyFormat = Literal["official", "diffsynth", "diffusers", "peft"]

# Black Forest Labs' module, DiffSynth's, those of diffusers in the order of the former's rows
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

KEY = re.compile(
    r"(?:transformer\.|diffusion_model\.|base_model\.model\.|pipe\.dit\.)*(?P<module>.+?)"
    r"\.(?:(?P<down>lora_down|lora_A)|(?P<up>lora_up|lora_B)|(?P<alpha>alpha))"
    r"(?:\.default)?(?:\.weight)?"
)


@dataclass(frozen=True)
class TargetModule:
    """One adapted linear: its name at Black Forest Labs, in DiffSynth, and in diffusers.

    `swapped` tells that the halves of its rows change places between the first and the other two.
    """

    native: str
    diffsynth: str
    diffusers: tuple[str, ...]
    swapped: bool = False

    @property
    def official(self) -> str:
        """Its name in the official form."""
        return f"lora_unet_{self.native.replace('.', '_')}"


# Not adapted by MegaStyle, but by LoRAs of others. The modulation of the last layer is shift, scale
# at Black Forest Labs and scale, shift elsewhere.
LAST_LAYER = (
    TargetModule(
        "final_layer.adaLN_modulation.1", "final_norm_out.linear", ("norm_out.linear",), True
    ),
    TargetModule("final_layer.linear", "final_proj_out", ("proj_out",)),
)


@dataclass(frozen=True)
class LoraFactors:
    """The change of one linear's weight: alpha / r * up @ down, (o, i).

    `down` is (r, i) and `up` (o, r).
    """

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def scale(self) -> float:
        """What up @ down is multiplied by: 1 in official files, where alpha is the rank."""
        return self.alpha / len(self.down)


Lora = dict[TargetModule, LoraFactors]


def target_modules(num_double: int = 19, num_single: int = 38) -> list[TargetModule]:
    """The linears the official LoRA adapts: 10 in a double block, 3 in a single; 304 in FLUX.1."""
    double, single = (range(num_double), range(num_single))
    return [
        *(
            TargetModule(
                f"double_blocks.{block}.{native}",
                f"blocks.{block}.{diffsynth}",
                tuple(f"transformer_blocks.{block}.{name}" for name in names),
            )
            for block in double
            for native, diffsynth, names in DOUBLE
        ),
        *(
            TargetModule(
                f"single_blocks.{block}.{native}",
                f"single_blocks.{block}.{diffsynth}",
                tuple(f"single_transformer_blocks.{block}.{name}" for name in names),
            )
            for block in single
            for native, diffsynth, names in SINGLE
        ),
    ]


def target_modules_of(transformer: Transformer) -> list[TargetModule]:
    """The targets of a transformer with so many blocks."""
    return target_modules(transformer.config.num_layers, transformer.config.num_single_layers)


def read_lora(path: Path, wanted: Sequence[TargetModule], model: str | None = None) -> Lora:
    """The LoRA of a .safetensors file in any of the four forms, for exactly the `wanted` targets.

    A remark is logged if the file says that it was trained on another model than `model`, a name
    that ends in a fingerprint; no refusal, since a copy in other numbers has another fingerprint.
    The last layer may be there too. Raises MegastyleError with the counts if a tensor has no place,
    a target has no tensors, or has them under two names.
    """
    held, header = _file(path)
    default_alpha = _noted_alpha(path, header)
    named, strangers, again = _by_module(held)
    _refuse_doubles(path, len(held), named, again, wanted)
    found = {t: _found(t, named, default_alpha) for t in (*wanted, *LAST_LAYER)}
    lora = {target: factors for target, factors in found.items() if factors is not None}
    known = {name for t in (*wanted, *lora) for name in _names(t)}
    strangers += [f"{name}.*" for name in named if name not in known]
    lacking = [target.official for target in wanted if target not in lora]
    if lacking or strangers:
        fitting = len(wanted) - len(lacking)
        raise MegastyleError(
            f"{path} has {len(held)} tensors, which fit {fitting} of {len(wanted)} modules"
            f" ({_first(lacking, 'without weights')}; {_first(strangers, 'unknown')})",
            hint="give a LoRA of all the modules that MegaStyle adapts, made for this model",
        )
    if model is not None:
        _remark_on_another_model(path, header, model)
    return lora


def fuse_lora(
    lora: Lora,
    transformer: Transformer,
    strength: float = 1.0,
    device: torch.device | None = None,
) -> None:
    """Adds `strength` times the LoRA to the transformer's weights, in the weights' own dtype.

    The products are made on `device`, else where the weights are. Raises MegastyleError, before any
    weight is changed, if a shape does not fit.
    """
    changes = [
        (name, transformer.get_submodule(name).weight, factors.down, rows, factors.scale)
        for target, factors in lora.items()
        for name, rows in rows_by_linear(target, factors).items()
    ]
    for name, weight, down, rows, _ in changes:
        shape = (len(rows), down.shape[1])
        if weight.shape != shape:
            raise MegastyleError(
                f"the LoRA changes {name} as {shape[0]} x {shape[1]},"
                f" the model has {weight.shape[0]} x {weight.shape[1]}",
                hint="give the LoRA that was trained on this model",
            )
    with torch.no_grad():
        for _, weight, down, rows, scale in changes:
            at = device or weight.device
            product = rows.to(at, weight.dtype) @ down.to(at, weight.dtype)
            weight += (strength * scale * product).to(weight.device)


def official_state_dict(lora: Lora) -> Weights:
    """The tensors of the official form: three a module, 912 for FLUX.1; alpha as int64."""
    found: Weights = {}
    for target, factors in lora.items():
        found[f"{target.official}.lora_down.weight"] = factors.down
        found[f"{target.official}.lora_up.weight"] = factors.up
        whole = float(factors.alpha).is_integer()
        found[f"{target.official}.alpha"] = torch.tensor(
            int(factors.alpha) if whole else factors.alpha
        )
    return found


def diffusers_state_dict(lora: Lora) -> Weights:
    """The tensors that `FluxPipeline.load_lora_weights` reads: 988 for FLUX.1.

    The form has no alpha: a scale other than 1 is multiplied into the down matrices.
    """
    found: Weights = {}
    for target, factors in lora.items():
        for name, rows in rows_by_linear(target, factors).items():
            found[f"transformer.{name}.lora_A.weight"] = _scaled_down(factors)
            found[f"transformer.{name}.lora_B.weight"] = rows
    return found


def peft_state_dict(lora: Lora) -> Weights:
    """The tensors that ComfyUI reads as its generic form: two a module, 608 for FLUX.1; no alpha.

    ComfyUI knows diffusers' modules only behind `transformer.`, hence Black Forest Labs' here.
    """
    return _two_a_module(lora, "diffusion_model.{0.native}.lora_{1}.weight")


def diffsynth_state_dict(lora: Lora) -> Weights:
    """The tensors that DiffSynth's trainer writes: two a module, 608 for FLUX.1; no alpha."""
    found = _two_a_module(lora, "{0.diffsynth}.lora_{1}.default.weight")
    for target in (target for target in lora if target.swapped):
        key = f"{target.diffsynth}.lora_B.default.weight"
        found[key] = _halves_swapped(found[key])
    return found


KEY_FORMATS: dict[KeyFormat, Callable[[Lora], Weights]] = {
    "official": official_state_dict,
    "diffsynth": diffsynth_state_dict,
    "diffusers": diffusers_state_dict,
    "peft": peft_state_dict,
}


def save_lora(
    lora: Lora, path: Path, form: KeyFormat = "official", metadata: dict[str, str] | None = None
) -> None:
    """Writes the LoRA in that form, `metadata` in its header; `path` never holds half a file.

    Raises OSError with its name if the file cannot be written.
    """
    made = KEY_FORMATS[form](lora)
    # cloned: a file may not hold one memory twice, and q, k and v share theirs
    whole = {key: w.detach().cpu().clone() for key, w in made.items()}
    with atomic_path(path, durable=False) as temporary:
        write_safetensors(whole, temporary, metadata)


def training_metadata(header: dict[str, str]) -> dict[str, str]:
    """What `train-flux` noted in a file's header."""
    return {key: value for key, value in header.items() if key.startswith("megastyle.")}


def _file(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors of a file, and its header."""
    try:
        with safe_open(path, framework="pt") as opened:
            held = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            header: dict[str, str] = opened.metadata() or {}
    except FileNotFoundError:
        raise MegastyleError(f"there is no LoRA {path}", hint=HOW_TO_FETCH_LORA) from None
    except (SafetensorError, IsADirectoryError) as fault:
        raise MegastyleError(
            f"{path} is no safetensors file, or is damaged: {fault}",
            hint="give a LoRA as .safetensors",
        ) from fault
    return held, header


def _noted_alpha(path: Path, header: dict[str, str]) -> float | None:
    """The alpha that PEFT notes in a file's header for all modules."""
    try:
        noted = json.loads(header.get("lora_adapter_metadata", "{}"))
    except ValueError as fault:
        raise MegastyleError(
            f"{path} has a header of PEFT's that is damaged: {fault}",
            hint="fetch or write the LoRA again",
        ) from fault
    told: dict[str, Any] = {key.rpartition(".")[2]: value for key, value in noted.items()}
    if told.get("use_rslora") or told.get("alpha_pattern"):
        raise MegastyleError(
            f"{path} scales its modules in a way of PEFT's that is not read here",
            hint="give a LoRA with one alpha, without rslora",
        )
    return told.get("lora_alpha")


def _remark_on_another_model(path: Path, header: dict[str, str], model: str) -> None:
    trained_on = header.get("megastyle.model")
    if trained_on and trained_on.rpartition("@")[2] != model.rpartition("@")[2]:
        log.warning(
            "%s was trained on %s, not on %s: unless one is a copy of the other, give the model"
            " that it was trained on",
            *(path, trained_on, model),
        )


def _forms(target: TargetModule) -> tuple[tuple[str, ...], ...]:
    """What a target is called in each form, without the prefixes that KEY takes away."""
    return ((target.official,), (target.native,), (target.diffsynth,), target.diffusers)


def _names(target: TargetModule) -> tuple[str, ...]:
    """All that a target is called in files."""
    return tuple(chain.from_iterable(_forms(target)))


def _found(
    target: TargetModule, named: dict[str, Weights], default_alpha: float | None
) -> LoraFactors | None:
    """The target's factors, if the file has all their tensors under one of its names."""
    native = named.get(target.official) or named.get(target.native)
    whole = native or named.get(target.diffsynth)
    parts = [whole] if whole else [named.get(name, {}) for name in target.diffusers]
    if not all("down" in part and "up" in part for part in parts):
        return None
    for part in parts:
        down, up = len(part["down"]), part["up"].shape[-1]
        if down != up:
            raise MegastyleError(
                f"{target.official} has rank {down} down and {up} up",
                hint="the LoRA is damaged: fetch or write it again",
            )
    joined = _joined([_factors(part, default_alpha) for part in parts])
    if target.swapped and not native:
        return replace(joined, up=_halves_swapped(joined.up))
    return joined


def _by_module(held: Weights) -> tuple[dict[str, Weights], list[str], set[str]]:
    """The tensors as module -> down, up, alpha.

    Also the keys that are nothing of a LoRA, and the modules that two prefixes stand before.
    """
    named: dict[str, Weights] = {}
    strangers, again = [], set()
    for key, tensor in held.items():
        found = KEY.fullmatch(key)
        if found is None:
            strangers.append(key)
            continue
        parts = named.setdefault(found["module"], {})
        if str(found.lastgroup) in parts:
            again.add(found["module"])
        parts[str(found.lastgroup)] = tensor
    return named, strangers, again


def _refuse_doubles(
    path: Path,
    num_tensors: int,
    named: dict[str, Weights],
    again: set[str],
    wanted: Sequence[TargetModule],
) -> None:
    """Raises MegastyleError if a target has tensors under two names, of which one would be lost."""
    doubled = [
        target.official
        for target in (*wanted, *LAST_LAYER)
        if sum(any(name in named for name in form) for form in _forms(target)) > 1
        or again.intersection(_names(target))
    ]
    if doubled:
        raise MegastyleError(
            f"{path} has {num_tensors} tensors, which give {len(doubled)} of {len(wanted)} modules"
            f" twice under two forms of keys, such as {doubled[0]}",
            hint="keep one form of keys in the file",
        )


def _factors(part: Weights, default_alpha: float | None) -> LoraFactors:
    alpha = float(part["alpha"]) if "alpha" in part else default_alpha
    rank = len(part["down"])
    return LoraFactors(part["down"], part["up"], rank if alpha is None else alpha)


def _joined(parts: Sequence[LoraFactors]) -> LoraFactors:
    """The parts of one official linear as one, rows below each other, exactly.

    Parts that share their down matrix keep its rank; others are stacked, and the ranks add up.
    """
    first = parts[0]
    if all(p.alpha == first.alpha and torch.equal(p.down, first.down) for p in parts):
        return LoraFactors(first.down, torch.cat([part.up for part in parts]), first.alpha)
    down = torch.cat([part.down * part.scale for part in parts])
    ups = [part.up for part in parts]
    up: Tensor = torch.block_diag(*ups)  # type: ignore[no-untyped-call]
    return LoraFactors(down, up, len(down))


def rows_by_linear(target: TargetModule, factors: LoraFactors) -> dict[str, Tensor]:
    """The rows of `up` of each diffusers linear: q, k and v are square, the mlp has the rest."""
    names = target.diffusers
    if len(names) == 1:
        return {names[0]: _halves_swapped(factors.up) if target.swapped else factors.up}
    width = factors.down.shape[1]
    sizes = [width] * 3 + [len(factors.up) - 3 * width] * (len(names) - 3)
    return dict(zip(names, torch.split(factors.up, sizes), strict=True))


def _halves_swapped(rows: Tensor) -> Tensor:
    return torch.cat(rows.chunk(2)[::-1])


def _scaled_down(factors: LoraFactors) -> Tensor:
    """The down matrix for a form without alpha."""
    return factors.down if factors.scale == 1 else factors.down * factors.scale


def _two_a_module(lora: Lora, key: str) -> Weights:
    """Down and up of every module; `key` is made of the target and A or B."""
    found: Weights = {}
    for target, factors in lora.items():
        found[key.format(target, "A")] = _scaled_down(factors)
        found[key.format(target, "B")] = factors.up
    return found


def _first(names: Iterable[str], what: str) -> str:
    found = list(names)
    return f"{len(found)} {what}" + (f", such as {found[0]}" if found else "")
