"""Settings of step-distilled LoRAs by name: steps, noise schedule, guidance."""

import math
from dataclasses import dataclass
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline

SCHEDULER_CLASS: Any = FlowMatchEulerDiscreteScheduler


@dataclass(frozen=True, kw_only=True)
class DistilledPreset:
    """The settings that a distilled LoRA was trained for."""

    pipeline: str
    steps: int
    guidance: float
    schedule: dict[str, Any]


# Lightning, 8 steps: sigma -> 3 sigma / (1 + 2 sigma) at every size, down to 0; guidance 1 is one
# pass a step.
PRESETS = {
    "lightning": DistilledPreset(
        pipeline="QwenImagePipeline",
        steps=8,
        guidance=1.0,
        schedule={
            "base_shift": math.log(3),
            "max_shift": math.log(3),
            "shift_terminal": None,
            "use_dynamic_shifting": True,
            "time_shift_type": "exponential",
        },
    )
}


def apply_preset(pipeline: Pipeline, name: str) -> DistilledPreset:
    """Gives the pipeline the schedule of a preset, and returns the preset.

    Raises MegastyleError if it is for another pipeline.
    """
    preset, kind = PRESETS[name], type(pipeline).__name__
    if kind != preset.pipeline:
        raise MegastyleError(
            f"--preset {name} is for a {preset.pipeline}, this is a {kind}",
            hint="omit it, or give --model Qwen/Qwen-Image",
        )
    pipeline.scheduler = SCHEDULER_CLASS.from_config(pipeline.scheduler.config, **preset.schedule)
    return preset
