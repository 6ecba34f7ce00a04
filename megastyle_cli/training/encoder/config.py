"""Options of `train-encoder` that concern the training itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from megastyle_cli.core.option import option, result_options
from megastyle_cli.models.options import COMPILE
from megastyle_cli.training.common import config as shared


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(shared.TrainingConfig):
    """What is trained, on what, how, and how the work is laid out on the devices."""

    HEADING: ClassVar[str] = "Method"

    output: str | None = option(
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for checkpoints, metrics and the trained encoder.",
        heading="Output",
        show_default=False,
        is_common=True,
        is_required=True,
        file="output folder",
    )
    init: str = option(
        "",
        metavar="MODEL",
        show_default=False,
        help="Initial weights: a Hugging Face name[@revision], folder or weights file; a config"
        " .json starts from random weights.",
        heading="Model",
        is_common=True,
        is_required=True,
        changes_results="yes",
    )
    text_model: str | None = option(
        None,
        metavar="MODEL",
        show_default=False,
        help="SigLIP whose text encoder embeds the prompts (default: that of --init, if any).",
        heading="Model",
        changes_results="if set",
    )
    pack: Path | None = option(None, **shared.PACK)
    label: str = option("style_id", **shared.LABEL | {"is_common": True})
    content_label: str = option(
        "content_id",
        metavar="KEY",
        help="Record key that names the content; validation ignores images of the query's content.",
        heading="Input",
    )
    holdout: float = option(0.1, **shared.HOLDOUT)
    split_key: str | None = option(None, **shared.SPLIT_KEY)
    global_batch: int = option(
        8192, min=2, help="Images per step over all devices (paper: 8192).", **shared.GLOBAL_BATCH
    )
    images_per_style: int = option(
        4,
        min=2,
        metavar="N",
        help="Images per style in a batch.",
        is_common=True,
        changes_results="yes",
        recorded_as="k",
    )
    chunk: str = option("auto", **shared.CHUNK)
    temperature: float = option(
        0.1,
        min=0.001,
        metavar="T",
        help="Temperature of the style contrastive loss.",
        changes_results="yes",
    )
    text_weight: float = option(
        1.0,
        min=0,
        metavar="W",
        help="Weight of the image-text loss (paper: 1); 0 disables it.",
        changes_results="yes",
    )
    epochs: float = option(
        30, min=0, metavar="N", help="Passes over the images (paper: 30).", is_common=True
    )
    steps: int | None = option(
        None,
        min=1,
        metavar="N",
        show_default=False,
        help="Number of steps, instead of --epochs.",
        is_common=True,
    )
    optimizer: Literal["adamw", "sgd"] = option(
        "adamw", help="Optimizer; sgd uses Nesterov momentum.", changes_results="yes"
    )
    lr: float = option(
        5e-4,
        min=0,
        metavar="RATE",
        help="Peak learning rate (paper: 5e-4).",
        is_common=True,
        changes_results="yes",
    )
    warmup: float = option(0.05, changes_results="yes", **shared.WARMUP)
    schedule: Literal["cosine", "linear", "constant"] = option(
        "cosine",
        help="Learning rate after the warm-up: cosine or linear decay to zero, or constant.",
        changes_results="yes",
    )
    weight_decay: float = option(0.01, changes_results="yes", **shared.WEIGHT_DECAY)
    clip: float = option(1.0, changes_results="yes", **shared.CLIP)
    ema: float = option(0.0, changes_results="yes", **shared.EMA)
    flip: bool = option(True, "--flip/--no-flip", help="Mirror half of the images.")
    crop: float = option(
        0.5,
        min=0.05,
        max=1,
        metavar="SHARE",
        help="Smallest random crop, as a share of the image's area; 1 disables cropping.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        help="Floating-point type of the encoder (auto: bfloat16 on a GPU, float32 on a CPU).",
        heading="Model",
        changes_results="yes",
    )
    recompute: str = option("auto", **shared.RECOMPUTE)
    compile: bool = option(False, "--compile", heading="Model", **COMPILE)
    checkpoint_every: int = option(500, **shared.CHECKPOINT_EVERY)
    validate_every: int = option(500, **shared.VALIDATE_EVERY)
    export_dtype: Literal["float32", "float16", "bfloat16"] = option(
        "float16", help="Floating-point type of the exported encoder.pth.", heading="Output"
    )
    seed: int = 0  # of --seed, which all commands share

    @property
    def groups(self) -> int:
        """Styles in a global batch."""
        return self.global_batch // self.images_per_style

    def run_options(self, steps: int) -> dict[str, Any]:
        """The options that can change the weights, under the names that a resumed run compares."""
        return {
            **result_options(self),
            "steps": steps,
            "groups": self.groups,
            "augmentation": {"flip": self.flip, "crop_area": self.crop},
            "seed": self.seed,
        }
