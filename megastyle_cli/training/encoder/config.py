"""What a training is told: what decides the weights that come out, and how the work is laid out."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.encoder.data import Augmentation

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "linear", "constant", "official"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What changes speed, memory and how much is kept of a run, and no weight but by rounding.

    `chunk` and `recompute` (every n-th layer, 0: none) are None where memory is to decide.
    """

    chunk: int | None
    recompute: int | None
    compile: bool
    checkpoint_every: int
    validate_every: int
    export_dtype: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the weights that come out, and the `layout` of the work, which does not."""

    init: str
    steps: int
    groups: int  # P
    k: int
    optimizer: Optimizer
    schedule: Schedule
    lr: float
    warmup: float  # share of the steps
    weight_decay: float
    clip: float
    temperature: float
    text_weight: float
    augmentation: Augmentation
    ema: float
    seed: int
    dtype: str
    layout: Layout

    @property
    def batch(self) -> int:
        """Pictures a step, over all devices: P x K."""
        return self.groups * self.k

    @property
    def deciding(self) -> dict[str, Any]:
        """The options that can change the weights, under the names that a resumed run compares."""
        return {name: value for name, value in asdict(self).items() if name != "layout"}


def count_or_auto(text: str) -> int | None:
    """`--chunk auto|N`; None for auto."""
    return None if text == "auto" else _positive("--chunk", text, "auto or a number N")


def every_nth(text: str) -> int | None:
    """`--recompute auto|none|all|N` as every n-th layer: None for auto, 0 for none, 1 for all."""
    words = {"auto": None, "none": 0, "all": 1}
    if text in words:
        return words[text]
    return _positive("--recompute", text, "auto, none, all or a number N for every Nth layer")


def _positive(flag: str, text: str, expected: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise MegastyleError(f"{flag} is {text!r}", hint=f"give {expected}")
    return int(text)
