"""Options that both trainers share: their declarations, and what the shared code reads of them."""

from dataclasses import dataclass

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


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

    max_errors: str = option("1%", metavar="N|N%", help="Failures tolerated before exit code 3.")
    resume: bool = option(
        False, "--resume", help="Go on with an unfinished output, or extend a finished one."
    )
    overwrite: bool = option(False, "--overwrite", help="Replace an existing output.")
    force: bool = option(False, "--force", help="Resume although the options have changed.")
    limit: int | None = option(
        None, metavar="N", min=0, show_default=False, help="Only the first N input records."
    )


# Declarations of options that both commands have, with defaults of their own.
LABEL = {"metavar": "KEY", "help": "Pictures of one style share this key's value."}
HOLDOUT = {"min": 0, "max": 0.9, "metavar": "SHARE", "help": "Of styles, for validation."}
SPLIT_KEY = {
    "metavar": "KEY",
    "show_default": False,
    "help": 'Styles whose records say "heldout" here are held out, no others.',
}
WARMUP = {"min": 0, "max": 1, "metavar": "SHARE", "help": "Of the steps, then --schedule."}
WEIGHT_DECAY = {"min": 0, "metavar": "W", "help": "On matrices only."}
CLIP = {"min": 0, "metavar": "L", "help": "Longest gradient; 0: any."}
EMA = {"min": 0, "max": 0.99999, "metavar": "D", "help": "Decay of averaged weights; 0: off."}
RECOMPUTE = {
    "metavar": "auto|none|all|N",
    "help": "Layers computed twice, to keep less (checkpointing): by memory, none, all, or"
    " every Nth.",
}
COMPILE = {"help": "Compile the model's layers first: pays off for many."}
CHECKPOINT_EVERY = {"min": 1, "metavar": "STEPS", "help": "Save so often."}
