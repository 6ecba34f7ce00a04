"""A FLUX model ready to generate: LoRA fused, weights quantized, idle parts off the device."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FirstBlockCacheConfig

from megastyle_cli.core.errors import MegastyleError, is_out_of_memory
from megastyle_cli.models.device import require_compiler, resolve_device, resolve_dtype
from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.lora import fuse_lora, target_modules_of
from megastyle_cli.models.flux.lora_file import read_lora
from megastyle_cli.models.flux.memory import (
    component_bytes,
    device_memory,
    memory_flags,
    memory_plans,
    suggest_plan,
)
from megastyle_cli.models.flux.model import Transformer
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.offload import offload_layers, on_device
from megastyle_cli.models.quantization import Quantized, quantize_blocks
from megastyle_cli.models.strict_weights import fingerprint, first_values

Offload = Literal["modulation", "model", "layers"]
Preset = Literal["fast-cache"]

# A step skips the blocks after the first if the first changed its input by less than this share of
# what it changed when they last ran. Source: diffusers' default for FLUX.
CACHE_THRESHOLD = 0.05
CACHE_CONFIG: Any = FirstBlockCacheConfig


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
        """The flags that save memory."""
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
    """The options with defaults filled in. Raises MegastyleError if they exclude each other."""
    resolved = resolve_device(device)
    if offload in ("model", "layers") and resolved.type == "cpu":
        raise MegastyleError(
            f"--offload {offload} needs a GPU",
            hint="omit it, or give --offload modulation, which is faster on a CPU",
        )
    if compiled and preset == "fast-cache":  # it branches at every step, which no graph can
        raise MegastyleError(
            "--preset fast-cache and --compile cannot be combined",
            hint="give one of them",
        )
    if compiled:
        require_compiler(resolved)
    if quantize and offload == "layers":
        raise MegastyleError(
            f"--offload layers cannot move weights of --quantize {quantize}",
            hint=f"give --offload model --quantize {quantize}, or omit --quantize",
        )
    return RuntimeConfig(
        device=resolved,
        dtype=resolve_dtype(dtype, resolved),
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
    """A pipeline ready to generate, its name with a fingerprint, and its precomputed modulation.

    `modulation` is None unless it is offloaded. `lora` is a file in any format that `read_lora`
    knows, fused at `lora_strength`. Raises MegastyleError if the model or the LoRA is incomplete,
    or if the device is too small.
    """

    def __init__(
        self, model: str, lora: str | None, lora_strength: float, config: RuntimeConfig
    ) -> None:
        self.config = config
        self.pipeline = load_flux(model, config.dtype)
        self.weights = component_bytes(self.pipeline)
        self.modulation: PrecomputedModulation | None = None
        transformer = self.pipeline.transformer
        self.name = f"{model}@{fingerprint(first_values(transformer.state_dict()))}"
        factors = {}
        if lora is not None:
            factors = read_lora(Path(lora), target_modules_of(transformer), self.name)
        try:
            if not config.flags:
                self.pipeline.to(config.device)
            fuse_lora(factors, transformer, lora_strength, config.device)
            self._apply_config()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MegastyleError(
                f"the model does not fit on {config.device}", hint=self.memory_hint(0)
            ) from error

    def memory_hint(self, needed: int) -> str:
        """What to try if memory ran out for an image whose activations take `needed` bytes."""
        memory = device_memory(self.config.device)
        if memory is None:
            return "give a smaller --size or --batch-size"
        plans = memory_plans(self.weights, self.config.dtype.itemsize)
        return suggest_plan(plans, self.config.flags, needed, memory, self.weights.total)

    @contextmanager
    def on_device(self, phase: Literal["encoding", "denoising"]) -> Iterator[None]:
        """With --offload model, keeps the parts of a phase on the device inside the context."""
        pipeline = self.pipeline
        parts = {
            "encoding": (pipeline.text_encoder, pipeline.text_encoder_2),
            "denoising": (pipeline.transformer, pipeline.vae),
        }
        is_moved = self.config.offload == "model"
        with on_device(parts[phase], self.config.device) if is_moved else nullcontext():
            yield

    def release(self) -> None:
        """Clears the step cache, after each batch."""
        self.pipeline.maybe_free_model_hooks()

    def _apply_config(self) -> None:
        config, transformer = self.config, self.pipeline.transformer
        if config.offload in ("modulation", "model"):
            self.modulation = PrecomputedModulation(transformer)
        if config.quantize:
            quantize_flux(transformer, config.quantize)
        if config.offload == "layers":
            offload_layers(self.pipeline, config.device)
        elif config.offload != "model":
            self.pipeline.to(config.device)
        if config.preset == "fast-cache":
            transformer.enable_cache(CACHE_CONFIG(threshold=CACHE_THRESHOLD))
        if config.compiled:
            transformer.compile_repeated_blocks(fullgraph=True)
