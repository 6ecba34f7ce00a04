"""One update of the style encoder from one global batch, and where the trainer stands."""

import copy
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from megastyle_cli.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.style_encoder import scaled
from megastyle_cli.models.tower import StyleTower, read_tower
from megastyle_cli.record import Failure
from megastyle_cli.training.cached import backward_of_batch
from megastyle_cli.training.checkpoint import load_checkpoint, save_checkpoint, write_whole
from megastyle_cli.training.data import Augmentation, Batch, Pictures, augmented, whole_pictures
from megastyle_cli.training.losses import Term, image_text, style_contrast
from megastyle_cli.training.prompts import TextSide, text_side

# n pictures of the global batch, b of this rank, d width

BETAS = (0.9, 0.95)  # SigLIP's
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the weights that come out, and how the work is laid out."""

    init: str
    steps: int
    groups: int  # P
    k: int
    lr: float
    warmup: float  # share of the steps
    weight_decay: float
    clip: float
    temperature: float
    text_weight: float
    augmentation: Augmentation
    ema: float
    seed: int
    chunk: int
    dtype: str
    recompute: bool
    compile: bool
    checkpoint_every: int
    validate_every: int
    export_dtype: str


def learning_rate(step: int, settings: Settings) -> float:
    """Of the update after `step` updates: a straight warm-up, then half a cosine to zero."""
    warm = max(1, round(settings.warmup * settings.steps))
    if step < warm:
        return settings.lr * (step + 1) / warm
    done = (step - warm) / max(1, settings.steps - warm)
    return settings.lr * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    """The tower, its optimiser and its place, moved on one global batch at a time by `step`."""

    def __init__(
        self, settings: Settings, pictures: Pictures, accelerator: Accelerator, folder: Path
    ) -> None:
        self.settings, self.pictures, self.accelerator = settings, pictures, accelerator
        self.folder, self.device = folder, accelerator.device
        self.at = 0  # updates made
        self.vision = read_tower(settings.init, settings.seed).train().to(self.device)
        self.ema = copy.deepcopy(self.vision).requires_grad_(False) if settings.ema else None
        if settings.recompute:
            self.vision.gradient_checkpointing_enable({"use_reentrant": False})
        if settings.compile:
            for layer in self.vision.encoder.layers:
                layer.compile()
        self.dtype = DTYPES[_chosen(settings.dtype, self.device)]
        self.tower: nn.Module = accelerator.prepare(StyleTower(self.vision, self.dtype))
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.vision, settings.weight_decay),
            lr=settings.lr,
            betas=BETAS,
            fused=self.device.type == "cuda",
        )
        self.text = self._text_side() if settings.text_weight else None
        self.prompts = torch.from_numpy(self.text.vectors).to(self.device) if self.text else None

    def step(self, batch: Batch) -> dict[str, float]:
        """One update with a rank's slice of the global batch; the losses before it.

        Raises MegastyleError (exit 1), and saves the ids, if the loss or gradient is no number.
        """
        settings, b = self.settings, len(batch.rows)
        pixels = batch.pixels.to(self.device, non_blocking=True)
        draws = settings.augmentation.draws(settings.seed, self.at, settings.groups * settings.k)
        rank = self.accelerator.process_index
        draws = draws[rank * b : (rank + 1) * b].to(self.device)
        side_px = self.vision.config.image_size
        told: dict[str, float] = {}

        def ready(start: int, stop: int) -> Tensor:
            rows = slice(start, stop)
            return augmented(pixels[rows], draws[rows], settings.augmentation, side_px)

        def objective(z: Tensor, styles: Tensor) -> Tensor:
            terms = self._terms(z, styles)
            told.update(_losses(terms, settings.text_weight))
            if not math.isfinite(told["loss"]):
                self._stop_at_no_number("loss", told["loss"], batch)
            weights = {"style": 1.0, "text": settings.text_weight}
            return torch.stack([weights[name] * t.gradient for name, t in terms.items()]).sum(0)

        styles = torch.from_numpy(self.pictures.styles[batch.rows]).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        backward_of_batch(self.tower, ready, styles, objective, self.accelerator, settings.chunk)
        norm = float(nn.utils.clip_grad_norm_(self.vision.parameters(), settings.clip or math.inf))
        if not math.isfinite(norm):
            self._stop_at_no_number("gradient", norm, batch)
        self._update(learning_rate(self.at, settings))
        return {**told, "gradient_norm": norm}

    def embed(self, pictures: Pictures) -> tuple[Any, list[str], list[Failure]]:
        """Unit rows (n, d) of the pictures that open, their styles, and what does not open.

        Each rank embeds a share. As an encoder is used: exact processing, the averaged weights.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        tower = StyleTower(self.ema or self.vision, self.dtype).eval()
        rows: list[int] = []
        vectors: list[Any] = []
        failures: list[Failure] = []
        size, side_px = self.settings.chunk, self.vision.config.image_size
        for start in range(rank * size, len(pictures), world * size):
            chunk = range(start, min(start + size, len(pictures)))
            opened, pixels, failed = whole_pictures(pictures, chunk, side_px)
            if opened:
                with torch.no_grad():
                    vectors += list(
                        tower(scaled(torch.stack(pixels).to(self.device))).cpu().numpy()
                    )
            rows += opened
            failures += failed
        tower.train()
        found = sorted(zip(gather_object(rows), gather_object(vectors), strict=True), key=_row)
        labels = [pictures.style_ids[pictures.styles[row]] for row, _ in found]
        unit = np.array([vector for _, vector in found], np.float32)
        return unit, labels, gather_object(failures)

    def save(self) -> None:
        """A checkpoint of this step; the first rank writes, the others wait."""
        if self.accelerator.is_main_process:
            state = {
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict() if self.ema else {},
            }
            save_checkpoint(self.folder, self.at, self.vision, state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Goes on from the newest checkpoint of the run, if there is one."""
        held = load_checkpoint(self.folder)
        if held is None:
            return
        weights, state = held
        self.vision.load_state_dict(weights)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.at = state["step"]

    def _terms(self, z: Tensor, styles: Tensor) -> dict[str, Term]:
        terms = {"style": style_contrast(z, styles, self.settings.temperature)}
        if self.text is not None and self.prompts is not None:
            unique, own = torch.unique(styles, return_inverse=True)
            terms["text"] = image_text(
                z, self.prompts[unique], own, self.text.scale, self.text.bias
            )
        return terms

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.at += 1
        if self.ema:
            pairs = zip(self.ema.parameters(), self.vision.parameters(), strict=True)
            for average, weight in pairs:
                average.lerp_(weight.detach(), 1 - self.settings.ema)

    def _text_side(self) -> TextSide:
        missing = [
            style
            for style, prompt in zip(self.pictures.style_ids, self.pictures.prompts, strict=True)
            if prompt is None
        ]
        if missing:
            raise MegastyleError(
                f"{len(missing)} of {len(self.pictures.style_ids)} styles have no prompt under"
                f" 'style', such as {missing[0]}",
                hint="caption them (megastyle caption --kind style), or --text-weight 0",
            )
        with self.accelerator.main_process_first():  # the others read what the first one made
            return text_side(
                [prompt or "" for prompt in self.pictures.prompts],
                self.settings.init,
                self.vision.config.hidden_size,
                self.folder / "prompts.npz",
                str(self.device),
            )

    def _stop_at_no_number(self, what: str, value: float, batch: Batch) -> None:
        ids = gather_object([self.pictures.ids[row] for row in batch.rows])
        path = self.folder / f"stopped-at-{self.at:08}.json"
        if self.accelerator.is_main_process:
            told = json.dumps({"step": self.at, what: str(value), "ids": ids}) + "\n"
            write_whole(path, lambda aside: _write_text(aside, told))
        raise MegastyleError(
            f"the {what} is {value} at step {self.at}; the ids of its batch are in {path}",
            hint="look at those pictures, or lower --lr; --resume goes on from the last checkpoint",
            exit_code=UNEXPECTED,
        )


def _row(found: tuple[int, Any]) -> int:
    return found[0]


def _chosen(dtype: str, device: torch.device) -> str:
    return ("bfloat16" if device.type == "cuda" else "float32") if dtype == "auto" else dtype


def _parameter_groups(vision: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Only matrices decay; biases, norms, places and the probe do not."""
    named = list(vision.named_parameters())
    decays = [n.endswith("weight") and w.ndim > 1 and "position" not in n for n, w in named]
    return [
        {
            "params": [w for (_, w), d in zip(named, decays, strict=True) if d is is_matrix],
            "weight_decay": weight_decay if is_matrix else 0.0,
        }
        for is_matrix in (True, False)
    ]


def _losses(terms: dict[str, Term], text_weight: float) -> dict[str, float]:
    told = {f"{name}_loss": float(term.loss) for name, term in terms.items()}
    total = told["style_loss"] + text_weight * told.get("text_loss", 0.0)
    return {"loss": total, **told, "without_positive": terms["style"].share_left_out}


def _write_text(path: Path, text: str) -> None:
    path.write_text(text)
