"""Options of `train-flux` that concern the training itself."""

from dataclasses import dataclass
from typing import Any, Literal

from megastyle_cli.core.option import option, result_options
from megastyle_cli.training.common import config as shared

Timesteps = Literal["megastyle", "logit-normal", "sigmoid", "flux-shift", "uniform"]
LossWeight = Literal["bell", "none"]


@dataclass(frozen=True, kw_only=True)
class FluxConfig(shared.TrainingConfig):
    """What is trained, on what, how, and how the work is laid out on the devices."""

    output: str | None = option(
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for checkpoints, metrics, samples and the finished weights.",
        show_default=False,
        file="output folder",
    )
    model: str = option(
        "",
        metavar="NAME",
        show_default=False,
        help="FLUX by folder or hub NAME[@REV], as transfer takes it.",
        changes_results="yes",
    )
    init: str | None = option(
        None,
        metavar="CONFIG.json",
        show_default=False,
        help="Draw a transformer of that size from the seed instead, and train all of it.",
        changes_results="yes",
        file="whole input",
    )
    full: bool = option(
        False, "--full", help="Train all of --model's transformer, no LoRA.", changes_results="yes"
    )
    lora: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Start from a LoRA: official, DiffSynth's or diffusers' keys.",
        changes_results="yes",
        file="whole input",
    )
    rank: int | None = option(
        None,
        min=1,
        metavar="R",
        show_default=False,
        help="Of the LoRA; default: --lora's, or 128.",
        changes_results="yes",
    )
    alpha: float | None = option(
        None,
        min=0.001,
        metavar="A",
        show_default=False,
        help="The LoRA counts A/R; default: its rank, which all its readers understand.",
        changes_results="yes",
    )
    targets: str = option(
        "all",
        metavar="all|KINDS",
        help="Modules by official stem, such as img_attn_qkv,txt_attn_qkv,linear1.",
        changes_results="yes",
    )
    quantize: Literal["int8", "fp8", "nf4"] | None = option(
        None,
        metavar="int8|fp8|nf4",
        show_default=False,
        help="Round the weights, for smaller cards (torchao; nf4: bitsandbytes).",
        changes_results="yes",
    )
    label: str = option("style_id", **shared.LABEL)
    holdout: float = option(0.01, **shared.HOLDOUT)
    split_key: str | None = option(None, **shared.SPLIT_KEY)
    size: int = option(
        512,
        min=8,
        metavar="PX",
        help="Side of both squares, a multiple of 16.",
        changes_results="yes",
        recorded_as="size_px",
    )
    global_batch: int = option(
        8,
        min=1,
        metavar="N",
        help="Pairs a step, over all devices.",
        changes_results="yes",
        recorded_as="batch",
    )
    chunk: str = option("auto", metavar="auto|N", help="Pairs on a device at once; by memory.")
    steps: int = option(30_000, min=1, metavar="N", help="Updates (paper).", changes_results="yes")
    optimizer: Literal["adamw", "adamw8bit"] = option(
        "adamw",
        help="8bit: moments in a quarter of the memory, by bitsandbytes.",
        changes_results="yes",
    )
    lr: float = option(1e-4, min=0, metavar="X", help="Highest rate.", changes_results="yes")
    warmup: float = option(0.0, changes_results="yes", **shared.WARMUP)
    schedule: Literal["constant", "cosine", "linear", "official"] = option(
        "constant",
        help="Of the rate; official: a third for five steps, then the whole.",
        changes_results="yes",
    )
    weight_decay: float = option(0.01, changes_results="yes", **shared.WEIGHT_DECAY)
    clip: float = option(0.0, changes_results="yes", **shared.CLIP)
    ema: float = option(0.0, changes_results="yes", **shared.EMA)
    timesteps: Timesteps = option(
        "megastyle",
        help="Noise levels: even over 1000 of shift 3; others as other trainers.",
        changes_results="yes",
    )
    loss_weight: LossWeight = option(
        "bell", help="Of noise levels: the official bell, or none.", changes_results="yes"
    )
    guidance: float = option(
        1.0, min=0, metavar="G", help="What FLUX is told while it learns.", changes_results="yes"
    )
    augment: bool = option(
        True,
        "--augment/--no-augment",
        help="Mirror and cut half the references.",
        changes_results="yes",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = option(
        "auto",
        help="Of frozen weights and products; auto: bfloat16 on a GPU.",
        changes_results="yes",
    )
    recompute: str = option("auto", **shared.RECOMPUTE)
    encode_text: Literal["auto", "beside", "first"] = option(
        "auto",
        help="By T5 and CLIP: beside the steps, or all first, which makes room; by memory.",
    )
    compile: bool = option(False, "--compile", **shared.COMPILE)
    checkpoint_every: int = option(500, **shared.CHECKPOINT_EVERY)
    validate_every: int = option(
        500, min=1, metavar="STEPS", help="Losses on held-out styles so often."
    )
    sample_every: int = option(1000, min=1, metavar="STEPS", help="Paint samples so often.")
    samples: int = option(8, min=0, metavar="N", help="Pictures painted each time; 0: none.")
    export_dtype: Literal["bfloat16", "float16", "float32"] = option(
        "bfloat16", help="Of the finished weights."
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
