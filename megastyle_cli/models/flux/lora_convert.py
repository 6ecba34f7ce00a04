"""A LoRA from one key form to another, whole or not at all, with the counts to show for it."""

from pathlib import Path

from safetensors import safe_open

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.loader import block_counts
from megastyle_cli.models.flux.lora import (
    KeyFormat,
    read_lora,
    save_lora,
    target_modules,
    training_metadata,
)


def convert_lora(
    source: Path, made: Path, form: KeyFormat, *, model: str | None, overwrite: bool
) -> str:
    """Writes the LoRA `source` to `made` in another form and tells the counts of both.

    It must adapt every module that MegaStyle adapts in `model`, a FLUX folder or hub name, or in
    FLUX.1; the weights themselves are not needed for that. What training noted in the header
    stays. Raises MegastyleError else, or if
    `made` exists, and OSError if it cannot be written.
    """
    if made.suffix != ".safetensors":
        raise MegastyleError(
            f"a LoRA is a .safetensors file, {made} is not", hint="give -o OUT.safetensors"
        )
    if made.exists() and not overwrite:
        raise MegastyleError(f"{made} exists", hint="add --overwrite to replace it")
    lora = read_lora(source, target_modules(*(block_counts(model) if model else ())))
    made.parent.mkdir(parents=True, exist_ok=True)
    save_lora(lora, made, form, training_metadata(_header(source)) or None)
    ranks = sorted({len(factors.down) for factors in lora.values()})
    told = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
    return (
        f"{source.name}: {_tensors(source):,} tensors, {len(lora)} modules of rank {told}"
        f" -> {made.name} ({form}): {_tensors(made):,} tensors"
    )


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as opened:
        return opened.metadata() or {}


def _tensors(path: Path) -> int:
    with safe_open(path, framework="pt") as opened:
        return len(opened.keys())
