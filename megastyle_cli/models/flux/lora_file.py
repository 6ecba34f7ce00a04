"""LoRA files of FLUX in four key formats: read to the last tensor, written, converted.

The formats hold the same numbers: official (kohya's `lora_unet_double_blocks_0_img_attn_qkv`, which
ComfyUI reads too), PEFT over Black Forest Labs' modules (`diffusion_model.double_blocks.0.img_attn.
qkv`, ComfyUI's generic format), DiffSynth (`blocks.0.attn.a_to_qkv.lora_A.default`) and diffusers
(`transformer.transformer_blocks.0.attn.to_q`).
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.models.flux.loader import block_counts
from megastyle_cli.models.flux.lora import (
    LAST_LAYER,
    Lora,
    LoraFactors,
    TargetModule,
    rows_by_layer,
    swap_halves,
    target_modules,
)
from megastyle_cli.models.flux.peft_config import PeftConfig, read_peft_config
from megastyle_cli.models.hub import check_no_lfs_pointer, find_lora
from megastyle_cli.models.options import LORA_DOWNLOAD_HINT
from megastyle_cli.models.tensor_files import Weights, check_finite, write_safetensors

KeyFormat = Literal["official", "diffsynth", "diffusers", "peft"]
log = logging.getLogger(__name__)

KEY = re.compile(
    r"(?:transformer\.|diffusion_model\.|base_model\.model\.|pipe\.dit\.)*(?P<module>.+?)"
    r"\.(?:(?P<down>lora_down|lora_A)|(?P<up>lora_up|lora_B)|(?P<alpha>alpha))"
    r"(?:\.default)?(?:\.weight)?"
)


def read_lora(path: Path, targets: Sequence[TargetModule], model: str | None = None) -> Lora:
    """The LoRA of a .safetensors file in any of the four formats, for exactly these modules.

    `path` may be a folder that PEFT saved. The last layer may be there too. Weights in 8-bit floats
    are read as float32. Tensors that could change no image are counted in a warning. Logs a warning
    if the file was trained on another model than `model`, a name that ends in a fingerprint; no
    error, since a copy in another dtype has another fingerprint. Raises MegastyleError with the
    counts if a tensor fits no module, or if a module has no tensors or has them under two names.
    """
    path = find_lora(path, LORA_DOWNLOAD_HINT)
    tensors, header = _read_file(path)
    modules, unknown, repeated = _by_module(tensors)
    _check_no_module_twice(path, len(tensors), modules, repeated, targets)
    factors_by_name = _factors_by_name(path, modules, read_peft_config(path, header))
    found = {t: _find_factors(t, factors_by_name) for t in (*targets, *LAST_LAYER)}
    lora = {target: factors for target, factors in found.items() if factors is not None}
    known = {name for t in (*targets, *lora) for name in chain(*_names_by_format(t))}
    others = {name: part for name, part in modules.items() if name not in known}
    idle = [key for key in unknown if _is_no_weight(tensors[key])]
    idle += [f"{name}.*" for name, part in others.items() if _changes_nothing(part)]
    if idle:
        log.warning("%s has %s", path, _count(idle, "entries without effect, which are not used"))
    unknown += [f"{name}.*" for name in others]
    unknown = [key for key in unknown if key not in idle]
    missing = [target.official for target in targets if target not in lora]
    if missing or unknown:
        fitting = len(targets) - len(missing)
        raise MegastyleError(
            f"{path} has {len(tensors)} tensors, which fit {fitting} of {len(targets)} modules"
            f" ({_count(missing, 'without weights')}; {_count(unknown, 'unknown')})",
            hint="give a LoRA for this model that has all modules that MegaStyle adapts",
        )
    if model is not None:
        _warn_about_another_model(path, header, model)
    return lora


def save_lora(
    lora: Lora,
    path: Path,
    key_format: KeyFormat = "official",
    metadata: dict[str, str] | None = None,
) -> None:
    """Writes the LoRA, with `metadata` in the header; `path` never holds half a file.

    Raises OSError with its name if the file cannot be written.
    """
    # cloned: safetensors refuses tensors that share memory, as q, k and v do
    tensors = {
        key: w.detach().cpu().clone() for key, w in lora_state_dict(lora, key_format).items()
    }
    with atomic_path(path) as temporary:
        write_safetensors(tensors, temporary, metadata)


def convert_lora(
    source: Path, target: Path, key_format: KeyFormat, *, model: str | None, overwrite: bool
) -> str:
    """Writes the LoRA `source` to `target` in another format and returns a line with the counts.

    It must adapt every module that MegaStyle adapts in `model`, a FLUX folder or hub name, by
    default FLUX.1; the model's weights are not read. The metadata of `train-flux` is kept. Raises
    MegastyleError if it does not fit or if `target` exists, OSError if it cannot be written.
    """
    if target.suffix != ".safetensors" and not is_stream(target):
        raise MegastyleError(
            f"a LoRA is a .safetensors file, {target} is not", hint="give -o OUT.safetensors"
        )
    if target.exists() and not overwrite and not is_stream(target):
        raise MegastyleError(f"{target} exists", hint="add --overwrite to replace it")
    source = find_lora(source, LORA_DOWNLOAD_HINT)
    lora = read_lora(source, target_modules(*(block_counts(model) if model else ())))
    with safe_open(source, framework="pt") as file:
        num_tensors, header = len(file.keys()), file.metadata() or {}
    metadata = {key: value for key, value in header.items() if key.startswith("megastyle.")}
    target.parent.mkdir(parents=True, exist_ok=True)
    save_lora(lora, target, key_format, metadata or None)
    ranks = sorted({len(factors.down) for factors in lora.values()})
    rank = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    return (
        f"{source.name}: {num_tensors:,} tensors, {len(lora)} modules of rank {rank}"
        f" -> {target.name} ({key_format}): {len(lora_state_dict(lora, key_format)):,} tensors"
    )


def lora_state_dict(lora: Lora, key_format: KeyFormat) -> Weights:
    """The tensors of a LoRA file.

    official: down, up and an int64 alpha for each module, 912 tensors for FLUX.1. The others have
    no alpha, so a scale other than 1 is multiplied into the down matrices. peft and diffsynth: two
    tensors a module, 608; peft keys name Black Forest Labs' modules, since ComfyUI knows those of
    diffusers only behind `transformer.`. diffusers: two for each of its layers, 988, as
    `FluxPipeline.load_lora_weights` reads them.
    """
    tensors: Weights = {}
    for target, factors in lora.items():
        up = factors.up
        match key_format:
            case "official":
                tensors[f"{target.official}.lora_down.weight"] = factors.down
                tensors[f"{target.official}.lora_up.weight"] = up
                alpha = factors.alpha
                tensors[f"{target.official}.alpha"] = torch.tensor(
                    int(alpha) if float(alpha).is_integer() else alpha
                )
                continue
            case "peft":
                layers = {f"diffusion_model.{target.native}.lora_{{}}.weight": up}
            case "diffsynth":
                rows = swap_halves(up) if target.swapped else up
                layers = {f"{target.diffsynth}.lora_{{}}.default.weight": rows}
            case "diffusers":
                layers = {
                    f"transformer.{name}.lora_{{}}.weight": rows
                    for name, rows in rows_by_layer(target, factors).items()
                }
        down = factors.down if factors.scale == 1 else factors.down * factors.scale
        for key, rows in layers.items():
            tensors[key.format("A")] = down
            tensors[key.format("B")] = rows
    return tensors


def _read_file(path: Path) -> tuple[Weights, dict[str, str]]:
    """The tensors of a file, finite, and its header; 8-bit floats as float32."""
    check_no_lfs_pointer(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            header: dict[str, str] = file.metadata() or {}
    except (SafetensorError, KeyError, AttributeError, ValueError) as error:
        raise MegastyleError(
            f"{path} is not a safetensors file, or is damaged: {error}",
            hint="give a LoRA as .safetensors",
        ) from error
    for key, tensor in tensors.items():
        if tensor.dtype.itemsize == 1 and tensor.is_floating_point():
            tensors[key] = tensor.float()
    check_finite(tensors, path)
    return tensors, header


def _by_module(tensors: Weights) -> tuple[dict[str, Weights], list[str], set[str]]:
    """The tensors as module -> down, up, alpha.

    Also the keys that belong to no LoRA, and the modules that occur with two prefixes.
    """
    modules: dict[str, Weights] = {}
    unknown, repeated = [], set()
    for key, tensor in tensors.items():
        match = KEY.fullmatch(key)
        if match is None:
            unknown.append(key)
            continue
        parts = modules.setdefault(match["module"], {})
        if str(match.lastgroup) in parts:
            repeated.add(match["module"])
        parts[str(match.lastgroup)] = tensor
    return modules, unknown, repeated


def _is_no_weight(tensor: Tensor) -> bool:
    """Whether a tensor is a counter, a scalar setting or a table of positions."""
    return tensor.numel() <= 1 or not tensor.is_floating_point()


def _changes_nothing(part: Weights) -> bool:
    """Whether the tensors of a module add nothing to it: no factors, or an `up` of zeros."""
    return part.keys() == {"alpha"} or ("up" in part and not part["up"].any())


def _names_by_format(target: TargetModule) -> tuple[tuple[str, ...], ...]:
    """The module's names in each format, without the prefixes that KEY strips."""
    return ((target.official,), (target.native,), (target.diffsynth,), target.diffusers)


def _check_no_module_twice(
    path: Path,
    num_tensors: int,
    modules: dict[str, Weights],
    repeated: set[str],
    targets: Sequence[TargetModule],
) -> None:
    """Raises MegastyleError if a module has tensors under two names, one of which would be lost."""
    doubled = [
        target.official
        for target in (*targets, *LAST_LAYER)
        if sum(any(name in modules for name in names) for names in _names_by_format(target)) > 1
        or repeated.intersection(chain(*_names_by_format(target)))
    ]
    if doubled:
        raise MegastyleError(
            f"{path} has {num_tensors} tensors, which give {len(doubled)} of {len(targets)} modules"
            f" twice, in two key layouts, such as {doubled[0]}",
            hint="keep one key layout in the file",
        )


def _factors_by_name(
    path: Path, modules: dict[str, Weights], config: PeftConfig | None
) -> dict[str, LoraFactors]:
    """The factors of every module that has both; alpha is its own, that of `config`, or the rank.

    Raises MegastyleError if they are not factors of one rank.
    """
    damaged = "the LoRA is damaged: fetch or write it again"
    found = {}
    for name, part in modules.items():
        if not ("down" in part and "up" in part):
            continue
        down, up = part["down"], part["up"]
        if down.ndim != 2 or up.ndim != 2 or not (down.is_floating_point() and len(down)):
            shapes = f"{down.dtype} {tuple(down.shape)} and {up.dtype} {tuple(up.shape)}"
            raise MegastyleError(f"{path} lacks factors of {name}: it has {shapes}", hint=damaged)
        rank = len(down)
        if rank != up.shape[1]:
            raise MegastyleError(
                f"{path} has rank {rank} down and {up.shape[1]} up for {name}", hint=damaged
            )
        alpha = config.alpha(name, rank) if config else None
        if "alpha" in part:
            if part["alpha"].numel() != 1:
                count = part["alpha"].numel()
                raise MegastyleError(f"{path} has {count} alphas for {name}", hint=damaged)
            alpha = float(part["alpha"])
        found[name] = LoraFactors(down, up, rank if alpha is None else alpha)
    return found


def _find_factors(target: TargetModule, found: dict[str, LoraFactors]) -> LoraFactors | None:
    """The module's factors; None unless the file has all their tensors under one of its names."""
    native = found.get(target.official) or found.get(target.native)
    whole = native or found.get(target.diffsynth)
    parts = [whole] if whole else [found.get(name) for name in target.diffusers]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    factors = _join(known)
    if target.swapped and not native:
        return replace(factors, up=swap_halves(factors.up))
    return factors


def _join(parts: Sequence[LoraFactors]) -> LoraFactors:
    """The factors of q, k and v (and MLP) as those of one layer with all their rows, exactly.

    Parts that share their down matrix keep its rank; others are stacked, and the ranks add up.
    """
    first = parts[0]
    if all(p.alpha == first.alpha and torch.equal(p.down, first.down) for p in parts):
        return LoraFactors(first.down, torch.cat([part.up for part in parts]), first.alpha)
    down = torch.cat([part.down * part.scale for part in parts])  # (sum of r, i)
    ups = [part.up for part in parts]
    up: Tensor = torch.block_diag(*ups)  # type: ignore[no-untyped-call]
    return LoraFactors(down, up, len(down))


def _warn_about_another_model(path: Path, header: dict[str, str], model: str) -> None:
    trained_on = header.get("megastyle.model")
    if trained_on and trained_on.rpartition("@")[2] != model.rpartition("@")[2]:
        log.warning(
            "%s was trained on %s, not on %s: unless one is a copy of the other, give the model"
            " that it was trained on",
            *(path, trained_on, model),
        )


def _count(names: Iterable[str], what: str) -> str:
    found = list(names)
    return f"{len(found)} {what}" + (f", such as {found[0]}" if found else "")
