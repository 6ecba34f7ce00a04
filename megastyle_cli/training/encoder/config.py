"""Options of `train-encoder` that concern the training itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from megastyle_cli.core.option import option, result_options
from megastyle_cli.training.common import config as shared


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(shared.TrainingConfig):
    """What is trained, on what, how, and how the work is laid out on the devices."""

    output: str | None = option(
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for checkpoints, metrics and the encoder.",
        show_default=False,
        file="output folder",
    )
    init: str = option(
        "",
        metavar="MODEL",
        show_default=False,
        help="Start from a folder, hub NAME[@REV], weights file, or config .json (from seed).",
        changes_results="yes",
    )
    pack: Path | None = option(
        None,
        metavar="DIR",
        show_default=False,
        help="Write the pictures to DIR as shards that load fast, and stop.",
        file="output folder",
    )
    label: str = option("style_id", **shared.LABEL)
    content_label: str = option(
        "content_id",
        metavar="KEY",
        help="As --label, for contents; retrieval is among other contents.",
    )
    holdout: float = option(0.1, **shared.HOLDOUT)
    split_key: str | None = option(None, **shared.SPLIT_KEY)
    global_batch: int = option(
        8192, min=2, metavar="N", help="Pictures a step, over all devices (paper)."
    )
    images_per_style: int = option(
        4,
        min=2,
        metavar="K",
        help="Of them from one style; N/K styles.",
        changes_results="yes",
        recorded_as="k",
    )
    chunk: str = option(
        "auto", metavar="auto|N", help="Pictures embedded at once on a device; by memory."
    )
    temperature: float = option(
        0.1, min=0.001, metavar="T", help="Of the contrast between styles.", changes_results="yes"
    )
    text_weight: float = option(
        1.0,
        min=0,
        metavar="W",
        help="Of the image-text term (paper: equal). Prompts are embedded by the text tower of"
        " --init if it has one, else by builtin vectors in a fixed rotation (ours); 0: off.",
        changes_results="yes",
    )
    epochs: float = option(30, min=0, metavar="N", help="Over the pictures (paper).")
    steps: int | None = option(
        None, min=1, metavar="N", show_default=False, help="Instead of epochs."
    )
    optimizer: Literal["adamw", "sgd"] = option(
        "adamw", help="sgd: with Nesterov's momentum.", changes_results="yes"
    )
    lr: float = option(
        5e-4, min=0, metavar="X", help="Highest learning rate (paper).", changes_results="yes"
    )
    warmup: float = option(0.05, changes_results="yes", **shared.WARMUP)
    schedule: Literal["cosine", "linear", "constant"] = option(
        "cosine",
        help="Of the rate after the warm-up: down to zero, or as it is.",
        changes_results="yes",
    )
    weight_decay: float = option(0.01, changes_results="yes", **shared.WEIGHT_DECAY)
    clip: float = option(1.0, changes_results="yes", **shared.CLIP)
    ema: float = option(0.0, changes_results="yes", **shared.EMA)
    flip: bool = option(True, "--flip/--no-flip", help="Mirror half of them.")
    crop: float = option(0.5, min=0.05, max=1, metavar="AREA", help="Smallest crop; 1: no crops.")
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        help="Of the tower; auto: bfloat16 on a GPU. The loss is float32.",
        changes_results="yes",
    )
    recompute: str = option("auto", **shared.RECOMPUTE)
    compile: bool = option(False, "--compile", **shared.COMPILE)
    checkpoint_every: int = option(500, **shared.CHECKPOINT_EVERY)
    validate_every: int = option(
        500, min=1, metavar="STEPS", help="Retrieve held-out styles so often."
    )
    export_dtype: Literal["float32", "float16", "bfloat16"] = option(
        "float16", help="Of encoder.pth."
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
