"""Step-distilled LoRAs by name: how many steps, which schedule, and that there is no guidance."""

import math
from dataclasses import dataclass
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline

SCHEDULER: Any = FlowMatchEulerDiscreteScheduler


@dataclass(frozen=True, kw_only=True)
class DistilledPreset:
    """The settings that a distilled LoRA was taught with."""

    pipeline: str
    steps: int
    guidance: float
    schedule: dict[str, Any]


# Lightning, 8 steps: sigma -> 3 sigma / (1 + 2 sigma) at every size, down to 0, one pass a step.
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


def apply_preset(pipeline: Pipeline, name: str) -> None:
    """Gives the pipeline the preset's schedule. Raises MegastyleError if it is another model's."""
    preset = PRESETS[name]
    if type(pipeline).__name__ != preset.pipeline:
        raise MegastyleError(
            f"--preset {name} is for a {preset.pipeline}, this is a {type(pipeline).__name__}",
            hint="leave it out, or give Qwen-Image by --model",
        )
    pipeline.scheduler = SCHEDULER.from_config(pipeline.scheduler.config, **preset.schedule)
