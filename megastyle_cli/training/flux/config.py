"""Options of `train-flux` that concern the training itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from megastyle_cli.core.option import option, result_options
from megastyle_cli.models.options import COMPILE, QUANTIZE
from megastyle_cli.training.common import config as shared

Timesteps = Literal["megastyle", "logit-normal", "sigmoid", "flux-shift", "uniform"]
LossWeight = Literal["bell", "none"]


@dataclass(frozen=True, kw_only=True)
class FluxConfig(shared.TrainingConfig):
    """What is trained, on what, how, and how the work is laid out on the devices."""

    HEADING: ClassVar[str] = "Method"

    output: str | None = option(
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for checkpoints, metrics, samples and weights.",
        heading="Output",
        show_default=False,
        is_common=True,
        is_required=True,
        file="output folder",
    )
    pack: Path | None = option(None, **shared.PACK)
    model: str = option(
        "",
        metavar="NAME",
        show_default=False,
        help="FLUX model: a Hugging Face name[@revision] or a local folder.",
        heading="Model",
        is_common=True,
        is_required=True,
        changes_results="yes",
    )
    init: str | None = option(
        None,
        metavar="CONFIG.json",
        show_default=False,
        help="Train a new transformer of this configuration from random weights, instead of a"
        " LoRA.",
        heading="Model",
        changes_results="yes",
        file="whole input",
    )
    full: bool = option(
        False,
        "--full",
        help="Train all weights of the model's transformer, instead of a LoRA.",
        heading="Model",
        changes_results="yes",
    )
    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Start from this LoRA (official, DiffSynth or diffusers keys).",
        heading="Model",
        is_common=True,
        changes_results="yes",
        file="whole input",
    )
    rank: int | None = option(
        None,
        min=1,
        metavar="N",
        show_default=False,
        help="Rank of the LoRA (default: that of --lora, or 128).",
        heading="Model",
        is_common=True,
        changes_results="yes",
    )
    alpha: float | None = option(
        None,
        min=0.001,
        metavar="A",
        show_default=False,
        help="Alpha of the LoRA, which is scaled by alpha / rank (default: the rank).",
        heading="Model",
        changes_results="yes",
    )
    targets: str = option(
        "all",
        metavar="all|NAMES",
        help="Modules to adapt, such as img_attn_qkv,txt_attn_qkv,linear1.",
        heading="Model",
        changes_results="yes",
    )
    quantize: Literal["int8", "fp8", "nf4"] | None = option(
        None, heading="Model", changes_results="yes", **QUANTIZE
    )
    label: str = option("style_id", **shared.LABEL)
    holdout: float = option(0.01, **shared.HOLDOUT)
    split_key: str | None = option(None, **shared.SPLIT_KEY)
    size: int = option(
        512,
        min=8,
        metavar="PX",
        help="Side of the square reference and target images; a multiple of 16.",
        is_common=True,
        changes_results="yes",
        recorded_as="size_px",
    )
    global_batch: int = option(
        8,
        min=1,
        help="Pairs per step over all devices.",
        changes_results="yes",
        recorded_as="batch",
        **shared.GLOBAL_BATCH,
    )
    chunk: str = option("auto", **shared.CHUNK)
    steps: int = option(
        30_000,
        min=1,
        metavar="N",
        help="Number of training steps (paper: 30000).",
        is_common=True,
        changes_results="yes",
    )
    optimizer: Literal["adamw", "adamw8bit"] = option(
        "adamw",
        help="Optimizer; adamw8bit saves GPU memory (needs bitsandbytes).",
        is_common=True,
        changes_results="yes",
    )
    lr: float = option(
        1e-4,
        min=0,
        metavar="RATE",
        help="Peak learning rate.",
        is_common=True,
        changes_results="yes",
    )
    warmup: float = option(0.0, changes_results="yes", **shared.WARMUP)
    schedule: Literal["constant", "cosine", "linear", "official"] = option(
        "constant",
        help="Learning rate after the warm-up; official: a third of it for five steps, then all.",
        changes_results="yes",
    )
    weight_decay: float = option(0.01, changes_results="yes", **shared.WEIGHT_DECAY)
    clip: float = option(0.0, changes_results="yes", **shared.CLIP)
    ema: float = option(0.0, changes_results="yes", **shared.EMA)
    timesteps: Timesteps = option(
        "megastyle",
        help="Distribution of noise levels; megastyle: uniform over 1000 levels with shift 3.",
        changes_results="yes",
    )
    loss_weight: LossWeight = option(
        "bell",
        help="Weighting of the loss by noise level: the official bell curve, or none.",
        changes_results="yes",
    )
    guidance: float = option(
        1.0,
        min=0,
        metavar="G",
        help="Guidance value given to FLUX during training.",
        changes_results="yes",
    )
    augment: bool = option(
        True,
        "--augment/--no-augment",
        help="Mirror and crop half of the references.",
        changes_results="yes",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        help="Floating-point type of the frozen weights (auto: bfloat16 on a GPU).",
        heading="Model",
        changes_results="yes",
    )
    recompute: str = option("auto", **shared.RECOMPUTE)
    encode_text: Literal["auto", "beside", "first"] = option(
        "auto",
        help="Encode prompts during training (beside), or all before it (first), which frees the"
        " GPU memory of T5; auto: by memory.",
        heading="Running",
    )
    compile: bool = option(False, "--compile", heading="Model", **COMPILE)
    checkpoint_every: int = option(500, **shared.CHECKPOINT_EVERY)
    validate_every: int = option(500, **shared.VALIDATE_EVERY)
    sample_every: int = option(
        1000, min=1, metavar="N", help="Steps between sample images.", heading="Running"
    )
    samples: int = option(
        8,
        min=0,
        metavar="N",
        help="Number of sample images each time; 0 disables them.",
        heading="Running",
    )
    export_dtype: Literal["bfloat16", "float16", "float32"] = option(
        "bfloat16", help="Floating-point type of the exported weights.", heading="Output"
    )
    seed: int = 0  # of --seed, which all commands share

    @property
    def run_options(self) -> dict[str, Any]:
        """The options that can change the weights, under the names that a resumed run compares."""
        return {**result_options(self), "seed": self.seed}

    @property
    def execution_options(self) -> dict[str, Any]:
        """The options that change speed, memory and what is saved, as run.json records them."""
        return {
            "chunk": self.micro_batch,
            "recompute": self.recompute_every,
            "encode_text": self.encode_text,
            "compile": self.compile,
            "checkpoint_every": self.checkpoint_every,
            "validate_every": self.validate_every,
            "sample_every": self.sample_every,
            "samples": self.samples,
            "export_dtype": self.export_dtype,
        }
