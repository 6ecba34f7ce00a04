"""Options that both trainers share: their declarations, and what the shared code reads of them."""

from dataclasses import dataclass
from typing import ClassVar

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option
from megastyle_cli.runner.options import FORCE, LIMIT, MAX_ERRORS, OVERWRITE


class TrainingConfig:
    """The options of a training that the shared code reads; each command declares its own.

    `changes_results` of an option says whether it can change the weights that come out; the others
    change speed, memory and what is saved, and weights only through rounding.
    """

    global_batch: int
    chunk: str
    optimizer: str
    lr: float
    warmup: float  # share of the steps
    schedule: str
    weight_decay: float
    clip: float  # maximum gradient norm; 0: no clipping
    ema: float  # decay of the averaged weights; 0: none
    dtype: str
    recompute: str
    compile: bool
    checkpoint_every: int
    validate_every: int
    export_dtype: str
    seed: int

    def __post_init__(self) -> None:
        """Raises MegastyleError if an option cannot be parsed."""
        _ = self.micro_batch, self.recompute_every

    @property
    def micro_batch(self) -> int | None:
        """`--chunk auto|N`; None for auto."""
        return (
            None if self.chunk == "auto" else _positive("--chunk", self.chunk, "auto or a number N")
        )

    @property
    def recompute_every(self) -> int | None:
        """`--recompute auto|none|all|N` as every n-th layer: None for auto, 0 for none."""
        words = {"auto": None, "none": 0, "all": 1}
        if self.recompute in words:
            return words[self.recompute]
        expected = "auto, none, all or a number N for every Nth layer"
        return _positive("--recompute", self.recompute, expected)


def _positive(flag: str, text: str, expected: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise MegastyleError(f"{flag} is {text!r}", hint=f"give {expected}")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Which records are read, and what to do with a run that exists."""

    HEADING: ClassVar[str] = "Running"

    max_errors: str = option("1%", **MAX_ERRORS)
    resume: bool = option(
        False,
        "--resume",
        help="Continue from the last checkpoint; the result is that of an uninterrupted run.",
        is_common=True,
    )
    overwrite: bool = option(False, "--overwrite", **OVERWRITE)
    force: bool = option(False, "--force", **FORCE)
    limit: int | None = option(
        None, **LIMIT | {"help": "Use only the first N input records.", "is_common": False}
    )


# Declarations of options that both commands have, with defaults of their own.
LABEL = {
    "heading": "Input",
    "metavar": "KEY",
    "help": "Record key that names the style of an image.",
}
PACK = {
    "heading": "Output",
    "metavar": "DIR",
    "show_default": False,
    "help": "Only write the images to DIR as shards that load faster, to train on later.",
    "file": "output folder",
}
HOLDOUT = {
    "heading": "Input",
    "min": 0,
    "max": 0.9,
    "metavar": "SHARE",
    "help": "Share of the styles held out for validation.",
}
SPLIT_KEY = {
    "heading": "Input",
    "metavar": "KEY",
    "show_default": False,
    "help": 'Hold out the styles whose records have "heldout" under KEY, instead of --holdout.',
}
GLOBAL_BATCH = {"heading": "Method", "metavar": "N", "is_common": True}
CHUNK = {
    "heading": "Running",
    "metavar": "auto|N",
    "help": "Micro-batch per device (auto: as much as GPU memory allows).",
    "is_common": True,
}
WARMUP = {
    "heading": "Method",
    "min": 0,
    "max": 1,
    "metavar": "SHARE",
    "help": "Share of the steps for linear warm-up of the learning rate.",
}
WEIGHT_DECAY = {
    "heading": "Method",
    "min": 0,
    "metavar": "W",
    "help": "Weight decay, applied to matrices only.",
}
CLIP = {
    "heading": "Method",
    "min": 0,
    "metavar": "N",
    "help": "Maximum gradient norm; 0 disables clipping.",
}
EMA = {
    "heading": "Method",
    "min": 0,
    "max": 0.99999,
    "metavar": "DECAY",
    "help": "Decay of the exponential moving average of the weights; 0 disables it.",
}
RECOMPUTE = {
    "heading": "Running",
    "metavar": "auto|none|all|N",
    "help": "Activation checkpointing, to save GPU memory; N: every Nth layer.",
    "is_common": True,
}
CHECKPOINT_EVERY = {
    "heading": "Running",
    "min": 1,
    "metavar": "N",
    "help": "Steps between checkpoints.",
}
VALIDATE_EVERY = {
    "heading": "Running",
    "min": 1,
    "metavar": "N",
    "help": "Steps between validations on the held-out styles.",
}
