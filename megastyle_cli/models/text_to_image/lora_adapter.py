"""A LoRA added to any pipeline of diffusers, to the last tensor, or refused with the counts."""

from pathlib import Path
from typing import Any

from megastyle_cli.core.errors import MegastyleError, short_reason
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline, denoiser_of

ADAPTER = "megastyle"


def add_lora(pipeline: Pipeline, path: Path, strength: float, *, fuse: bool) -> None:
    """Adds `strength` times the LoRA in a .safetensors file to the part that paints.

    With `fuse` it becomes part of the weights and costs nothing more; quantised weights keep it
    beside them. Raises MegastyleError if a tensor has no place, or if some got none.
    """
    from peft import get_peft_model_state_dict

    if not path.is_file():
        raise MegastyleError(f"there is no LoRA {path}", hint="give a .safetensors file")
    if not hasattr(pipeline, "load_lora_weights"):
        raise MegastyleError(f"a {type(pipeline).__name__} takes no LoRA", hint="leave --lora out")
    try:
        told = pipeline.lora_state_dict(str(path.parent), weight_name=path.name)
        held: dict[str, Any] = told[0] if isinstance(told, tuple) else told
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=ADAPTER)
    except Exception as fault:  # whatever a file of another kind raises in diffusers and PEFT
        raise MegastyleError(
            f"{path} is no LoRA of a {type(pipeline).__name__}: {short_reason(fault)}",
            hint="give the LoRA that was made for this model",
        ) from fault
    denoiser = denoiser_of(pipeline)
    has_it = ADAPTER in getattr(denoiser, "peft_config", {})
    loaded = get_peft_model_state_dict(denoiser, adapter_name=ADAPTER) if has_it else {}
    wanted = {_bare(key) for key in held if not key.endswith((".alpha", "network_alpha"))}
    missing, extra = wanted - loaded.keys(), loaded.keys() - wanted
    if missing or extra or not loaded:
        example = next(iter(sorted(missing or extra)), "none")
        raise MegastyleError(
            f"{path} has {len(wanted)} tensors, of which {len(wanted) - len(missing)} fit this"
            f" {type(pipeline).__name__} ({len(extra)} of its own stay empty), such as {example}",
            hint="give the LoRA that was made for this model",
        )
    if fuse:
        pipeline.fuse_lora(lora_scale=strength, adapter_names=[ADAPTER])
        pipeline.unload_lora_weights()
    else:
        pipeline.set_adapters(ADAPTER, strength)


def _bare(key: str) -> str:
    """A tensor's name inside the part that paints."""
    return key.removeprefix("transformer.").removeprefix("unet.")
