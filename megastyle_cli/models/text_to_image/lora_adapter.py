"""LoRAs on any diffusers pipeline, loaded to the last tensor."""

from pathlib import Path
from typing import Any

from megastyle_cli.core.errors import MegastyleError, short_reason
from megastyle_cli.models.hub import (
    ADAPTER_CONFIG,
    adapter_config_path,
    check_no_lfs_pointer,
    find_lora,
)
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline, denoiser_of

ADAPTER = "megastyle"


def add_lora(pipeline: Pipeline, path: Path, strength: float, *, fuse: bool) -> None:
    """Adds `strength` times the LoRA of a .safetensors file to the denoiser.

    With `fuse` it becomes part of the weights and costs no time; quantized weights keep it beside
    them. Raises MegastyleError with the counts if a tensor fits nowhere, or if the denoiser's LoRA
    is not filled.
    """
    from peft import get_peft_model_state_dict

    kind = type(pipeline).__name__
    path = find_lora(path)
    check_no_lfs_pointer(path)
    if adapter_config_path(path) is not None:
        raise MegastyleError(
            f"{path} has its strength in {ADAPTER_CONFIG}, which a {kind} does not read",
            hint="save it with diffusers' save_lora_weights, or transfer --to diffusers",
        )
    if not hasattr(pipeline, "load_lora_weights"):
        raise MegastyleError(f"a {kind} does not support a LoRA", hint="omit --lora")
    try:
        loaded = pipeline.lora_state_dict(str(path.parent), weight_name=path.name)
        tensors: dict[str, Any] = loaded[0] if isinstance(loaded, tuple) else loaded
        pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=ADAPTER)
    except Exception as error:  # diffusers and PEFT raise anything for a file of another kind
        raise MegastyleError(
            f"{path} is not a LoRA for a {kind}: {short_reason(error)}",
            hint="give the LoRA that was made for this model",
        ) from error
    denoiser = denoiser_of(pipeline)
    is_attached = ADAPTER in getattr(denoiser, "peft_config", {})
    attached = get_peft_model_state_dict(denoiser, adapter_name=ADAPTER) if is_attached else {}
    names = {
        key.removeprefix("transformer.").removeprefix("unet.")
        for key in tensors
        if not key.endswith((".alpha", "network_alpha"))
    }
    missing, extra = names - attached.keys(), attached.keys() - names
    if missing or extra or not attached:
        example = next(iter(sorted(missing or extra)), "none")
        raise MegastyleError(
            f"{path} has {len(names)} tensors, of which {len(names) - len(missing)} fit this"
            f" {kind} ({len(extra)} of its own stay empty), such as {example}",
            hint="give the LoRA that was made for this model",
        )
    if fuse:
        pipeline.fuse_lora(lora_scale=strength, adapter_names=[ADAPTER])
        pipeline.unload_lora_weights()
    else:
        pipeline.set_adapters(ADAPTER, strength)
