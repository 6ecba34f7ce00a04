"""What a training of FLUX is told: what decides the weights, and how the work is laid out."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from megastyle_cli.training.encoder.config import Schedule
from megastyle_cli.training.flux.objective import Timesteps, Weighting
from megastyle_cli.training.flux.optimizer import Optimizer

Quantized = Literal["int8", "fp8", "nf4"]
EncodeText = Literal["auto", "beside", "first"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What changes speed, memory and how much is kept of a run, and no weight but by rounding.

    `chunk` and `recompute` (every n-th block, 0: none) are None where memory is to decide, and text
    is encoded beside the steps, before the first, or (auto) as memory has it.
    """

    chunk: int | None
    recompute: int | None
    encode_text: EncodeText
    compile: bool
    checkpoint_every: int
    validate_every: int
    sample_every: int
    samples: int  # pictures painted each time
    export_dtype: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the weights that come out, and the `layout` of the work, which does not.

    `init` is the config of a transformer that is drawn from the seed, `lora` a file to start from;
    with `full` all weights of the transformer are trained and there is no LoRA.
    """

    model: str
    init: str | None
    lora: str | None
    full: bool
    rank: int | None
    alpha: float | None
    targets: str
    quantize: Quantized | None
    size_px: int
    batch: int  # pairs a step, over all devices
    steps: int
    optimizer: Optimizer
    lr: float
    schedule: Schedule
    warmup: float
    weight_decay: float
    clip: float
    ema: float
    timesteps: Timesteps
    loss_weight: Weighting
    guidance: float
    augment: bool
    seed: int
    dtype: str
    layout: Layout

    @property
    def deciding(self) -> dict[str, Any]:
        """The options that can change the weights, under the names that a resumed run compares."""
        return {name: value for name, value in asdict(self).items() if name != "layout"}
