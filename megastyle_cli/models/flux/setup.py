"""A FLUX read and made ready to paint: LoRA fused, numbers rounded, parts kept off the device."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FirstBlockCacheConfig

from megastyle_cli.core.errors import MegastyleError, is_out_of_memory
from megastyle_cli.models.device import require_compiler, resolve_device, resolve_dtype
from megastyle_cli.models.flux.loader import Pipeline, load_flux
from megastyle_cli.models.flux.lora import fuse_lora, target_modules_of
from megastyle_cli.models.flux.lora_file import read_lora
from megastyle_cli.models.flux.memory import (
    ComponentBytes,
    component_bytes,
    device_memory,
    memory_flags,
    memory_plans,
    suggest_plan,
)
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.quantization import Quantized, quantize_blocks
from megastyle_cli.models.strict_weights import fingerprint, first_values

Offload = Literal["modulation", "model", "layers"]
Preset = Literal["fast-cache"]

# Blocks after the first are left out of a step in which the first changed its input by less than
# this share of what it changed when they last ran. Source: diffusers' default for FLUX.
CACHE: Any = partial(FirstBlockCacheConfig, threshold=0.05)


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig:
    """How a FLUX model runs.

    `offload` keeps parts off the device while they are idle: the modulation layers (see
    `PrecomputedModulation`), those and whole components (model), or each layer (layers).
    `quantize` and `preset` change pixels.
    """

    device: torch.device
    dtype: torch.dtype
    offload: Offload | None = None
    quantize: Quantized | None = None
    preset: Preset | None = None
    compiled: bool = False

    @property
    def flags(self) -> str:
        """Those that say what is kept where."""
        return memory_flags(self.offload, self.quantize)


def resolve_runtime(
    device: str | None,
    dtype: str | None,
    offload: Offload | None,
    quantize: Quantized | None,
    preset: Preset | None,
    *,
    compiled: bool,
) -> RuntimeConfig:
    """The options as a Running. Raises MegastyleError if they do not go together."""
    chosen = resolve_device(device)
    if offload in ("model", "layers") and chosen.type == "cpu":
        raise MegastyleError(
            f"--offload {offload} needs a GPU to save memory on",
            hint="leave it out, or give --offload modulation, which is faster on a CPU",
        )
    if compiled and preset == "fast-cache":  # its choice at every step is outside of any graph
        raise MegastyleError(
            "--preset fast-cache decides from step to step, which --compile cannot",
            hint="give one of them",
        )
    if compiled:
        require_compiler(chosen)
    if quantize and offload == "layers":
        raise MegastyleError(
            f"--offload layers moves plain weights only, not those of --quantize {quantize}",
            hint=f"give --offload model --quantize {quantize}, or leave --quantize out",
        )
    return RuntimeConfig(
        device=chosen,
        dtype=resolve_dtype(dtype, chosen),
        offload=offload,
        quantize=quantize,
        preset=preset,
        compiled=compiled,
    )


def quantize_flux(transformer: Transformer, kind: Quantized) -> None:
    """Rounds the weights of all linear layers of the blocks to `kind`, in place.

    The layers before and after the blocks stay as they are: they are small, and errors there show
    everywhere. Raises MegastyleError if the package that `kind` needs is not installed.
    """
    quantize_blocks(transformer.transformer_blocks, kind)
    quantize_blocks(transformer.single_transformer_blocks, kind)


class PreparedFlux:
    """A pipeline made ready, its name with a fingerprint, and its modulation where that was taken.

    `lora` is a file in any form that `read_lora` knows, fused at `lora_strength`. Raises
    MegastyleError if the model or the LoRA is not whole, or if the device is too small.
    """

    def __init__(
        self, model: str, lora: str | None, lora_strength: float, how: RuntimeConfig
    ) -> None:
        self.how = how
        self.pipeline: Pipeline = load_flux(model, how.dtype)
        self.weights: ComponentBytes = component_bytes(self.pipeline)
        self.modulation: PrecomputedModulation | None = None
        transformer = self.pipeline.transformer
        self.name = f"{model}@{fingerprint(first_values(transformer.state_dict()))}"
        adapter = {}
        if lora is not None:
            adapter = read_lora(Path(lora), target_modules_of(transformer), self.name)
        try:
            if not how.flags:
                self.pipeline.to(how.device)
            fuse_lora(adapter, transformer, lora_strength, how.device)
            self._make_ready()
        except RuntimeError as fault:
            if not is_out_of_memory(fault):
                raise
            raise MegastyleError(
                f"the model does not fit on {how.device}", hint=self.what_fits(work=0)
            ) from fault

    def what_fits(self, work: int) -> str:
        """What to try where painting a picture, which takes `work` bytes, ran out of memory."""
        memory = device_memory(self.how.device)
        if memory is None:
            return "give a smaller --size or --batch-size"
        known = memory_plans(self.weights, self.how.dtype.itemsize)
        return suggest_plan(known, self.how.flags, work, memory)

    def rest(self) -> None:
        """After each painting: parts leave the device, caches forget."""
        self.pipeline.maybe_free_model_hooks()

    def _make_ready(self) -> None:
        how, transformer = self.how, self.pipeline.transformer
        if how.offload in ("modulation", "model"):
            self.modulation = PrecomputedModulation(transformer)
        if how.quantize:
            quantize_flux(transformer, how.quantize)
        if how.offload == "model":
            self.pipeline.enable_model_cpu_offload(device=how.device)
        elif how.offload == "layers":
            self.pipeline.enable_group_offload(
                how.device, offload_type="leaf_level", use_stream=True
            )
        else:
            self.pipeline.to(how.device)
        if how.preset == "fast-cache":
            transformer.enable_cache(CACHE())
        if how.compiled:
            transformer.compile_repeated_blocks(fullgraph=True)
