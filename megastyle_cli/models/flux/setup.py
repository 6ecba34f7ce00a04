"""A FLUX read and made ready to paint: LoRA fused, numbers rounded, parts kept off the device."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FirstBlockCacheConfig

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.device import chosen_device, chosen_dtype, refuse_no_compiler
from megastyle_cli.models.flux.loader import Pipeline, read_flux
from megastyle_cli.models.flux.lora import fuse, read_lora, targets_of
from megastyle_cli.models.flux.memory import (
    Weights,
    device_memory,
    flags,
    is_out_of_memory,
    plan_that_fits,
    plans,
    weights_of,
)
from megastyle_cli.models.flux.modulation import Modulation
from megastyle_cli.models.flux.quantize import compute_in_fp8, quantise
from megastyle_cli.models.quantization import Quantized
from megastyle_cli.models.strict_weights import fingerprint, first_values

Offload = Literal["modulation", "model", "layers"]
Preset = Literal["fast-cache", "fast-fp8"]

# Blocks after the first are left out of a step in which the first changed its input by less than
# this share of what it changed when they last ran. Source: diffusers' default for FLUX.
CACHE: Any = partial(FirstBlockCacheConfig, threshold=0.05)


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a FLUX runs.

    `offload` keeps off the device the modulation layers (see `Modulation`), also whole parts that
    are not at work (model), or each layer (layers). `quantize` and `preset` change pixels.
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
        return flags(self.offload, self.quantize)


def running(
    device: str | None,
    dtype: str | None,
    offload: Offload | None,
    quantize: Quantized | None,
    preset: Preset | None,
    *,
    compiled: bool,
) -> Running:
    """The options as a Running. Raises MegastyleError if they do not go together."""
    chosen = chosen_device(device)
    if offload in ("model", "layers") and chosen.type == "cpu":
        raise MegastyleError(
            f"--offload {offload} needs a GPU to save memory on",
            hint="leave it out, or give --offload modulation, which is faster on a CPU",
        )
    if quantize and preset == "fast-fp8":
        raise MegastyleError(
            f"--quantize {quantize} and --preset fast-fp8 both choose the numbers of the weights",
            hint="give one of them",
        )
    if compiled and preset == "fast-cache":  # its choice at every step is outside of any graph
        raise MegastyleError(
            "--preset fast-cache decides from step to step, which --compile cannot",
            hint="give one of them",
        )
    if compiled:
        refuse_no_compiler(chosen)
    if quantize and offload == "layers":
        raise MegastyleError(
            f"--offload layers moves plain weights only, not those of --quantize {quantize}",
            hint=f"give --offload model --quantize {quantize}, or leave --quantize out",
        )
    return Running(
        device=chosen,
        dtype=chosen_dtype(dtype, chosen),
        offload=offload,
        quantize=quantize,
        preset=preset,
        compiled=compiled,
    )


class Flux:
    """A pipeline made ready, its name with a fingerprint, and its modulation where that was taken.

    `lora` is a file in any form that `read_lora` knows, fused at `lora_strength`. Raises
    MegastyleError if the model or the LoRA is not whole, or if the device is too small.
    """

    def __init__(self, model: str, lora: str | None, lora_strength: float, how: Running) -> None:
        self.how = how
        self.pipeline: Pipeline = read_flux(model, how.dtype)
        self.weights: Weights = weights_of(self.pipeline)
        self.modulation: Modulation | None = None
        transformer = self.pipeline.transformer
        self.name = f"{model}@{fingerprint(first_values(transformer.state_dict()))}"
        adapter = {}
        if lora is not None:
            adapter = read_lora(Path(lora), targets_of(transformer), self.name)
        try:
            if not how.flags:
                self.pipeline.to(how.device)
            fuse(adapter, transformer, lora_strength, how.device)
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
        known = plans(self.weights, self.how.dtype.itemsize)
        return plan_that_fits(known, self.how.flags, work, memory)

    def rest(self) -> None:
        """After each painting: parts leave the device, caches forget."""
        self.pipeline.maybe_free_model_hooks()

    def _make_ready(self) -> None:
        how, transformer = self.how, self.pipeline.transformer
        if how.offload in ("modulation", "model"):
            self.modulation = Modulation(transformer)
        if how.quantize:
            quantise(transformer, how.quantize)
        if how.preset == "fast-fp8":
            compute_in_fp8(transformer, how.device)
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
