"""One update of the style encoder from one global batch, and where the trainer stands."""

import copy
import math
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import SiglipVisionModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.encoders.siglip_vision import (
    StyleTower,
    load_tower,
    normalize_pixels,
    save_folder,
)
from megastyle_cli.models.tensor_files import read_weights
from megastyle_cli.training.common import memory_plan as memory
from megastyle_cli.training.common.checkpoint import load_checkpoint, save_checkpoint
from megastyle_cli.training.common.loop import refuse_no_finite, refuse_no_number
from megastyle_cli.training.common.memory_probe import chunk_that_fits, least_free_bytes
from megastyle_cli.training.encoder.config import Settings
from megastyle_cli.training.encoder.data import Batch, Pictures, augmented, whole_pictures
from megastyle_cli.training.encoder.gradient_cache import Pixels, backward_of_batch
from megastyle_cli.training.encoder.objective import Objective
from megastyle_cli.training.encoder.optimizer import MOMENTS, learning_rate, optimizer_of
from megastyle_cli.training.encoder.prompts import TextSide, text_side

# n pictures of the global batch, b of this rank, d width

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
EMBEDDED_AT_ONCE = 64  # held-out pictures, without a graph


class Trainer:
    """The tower, its optimiser and its place, moved on one global batch at a time by `step`."""

    def __init__(
        self, settings: Settings, pictures: Pictures, accelerator: Accelerator, folder: Path
    ) -> None:
        self.settings, self.pictures, self.accelerator = settings, pictures, accelerator
        self.folder, self.device = folder, accelerator.device
        self.at = 0  # updates made
        free = least_free_bytes(accelerator)  # before anything of ours is there
        self.vision = load_tower(settings.init, settings.seed).train().to(self.device)
        self.ema = copy.deepcopy(self.vision).requires_grad_(False) if settings.ema else None
        self.dtype = DTYPES[_chosen(settings.dtype, self.device)]
        self.optimizer = optimizer_of(self.vision, settings)
        text = self._text_side() if settings.text_weight else None
        self.objective = Objective(settings.temperature, settings.text_weight, text, self.device)
        self.plan = self._plan(free)
        self.chunk = self.plan.chunk
        _compute_twice(self.vision, self.plan.every)
        if settings.layout.compile:
            for layer in self.vision.encoder.layers:
                layer.compile()
        self.tower: nn.Module = accelerator.prepare(StyleTower(self.vision, self.dtype))

    def step(self, batch: Batch) -> dict[str, float]:
        """One update with a rank's slice of the global batch; the losses before it.

        Raises MegastyleError (exit 1), and saves the ids, if the loss or gradient is no number.
        """
        settings = self.settings
        self.optimizer.zero_grad(set_to_none=True)
        backward_of_batch(
            self.tower,
            self._views(batch),
            self._styles(batch),
            self.objective,
            self.accelerator,
            self.chunk,
        )
        norm = nn.utils.clip_grad_norm_(self.vision.parameters(), settings.clip or math.inf)
        losses = {**self.objective.losses, "gradient_norm": float(norm)}
        ids = [self.pictures.ids[row] for row in batch.rows]
        refuse_no_number(losses, ids, self.at, self.folder, self.accelerator)
        self._update(learning_rate(self.at, settings))
        return losses

    def settle_chunk(self) -> None:
        """Where memory is tight, halves the chunk until it fits; the gradient stays the same."""
        if self.plan.is_tight:
            self.chunk = chunk_that_fits(self.chunk, self._rehearse, self.accelerator)

    def embed(self, pictures: Pictures) -> tuple[Any, list[int], list[Failure]]:
        """Unit rows (n, d) of the pictures that open, their rows, and what does not open.

        Each rank embeds a share. As an encoder is used: exact processing, the averaged weights.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        tower = StyleTower(self.ema or self.vision, self.dtype).eval()
        rows: list[int] = []
        vectors: list[Any] = []
        failures: list[Failure] = []
        size, side_px = min(self.chunk, EMBEDDED_AT_ONCE), self.vision.config.image_size
        for start in range(rank * size, len(pictures), world * size):
            chunk = range(start, min(start + size, len(pictures)))
            opened, pixels, failed = whole_pictures(pictures, chunk, side_px)
            if opened:
                with torch.no_grad():
                    unit = tower(normalize_pixels(torch.stack(pixels).to(self.device)))
                vectors += list(unit.cpu().numpy())
            rows += opened
            failures += failed
        tower.train()
        found = sorted(zip(gather_object(rows), gather_object(vectors), strict=True), key=_row)
        embedded = np.array([vector for _, vector in found], np.float32)
        return embedded, [row for row, _ in found], gather_object(failures)

    def save(self) -> None:
        """A checkpoint of this step; the first rank writes, the others wait.

        Raises MegastyleError (exit 1) if the weights are not finite.
        """
        averages = self.ema.parameters() if self.ema else ()
        refuse_no_finite(chain(self.vision.parameters(), averages), self.at)
        if self.accelerator.is_main_process:
            state = {
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.state_dict() if self.ema else {},
            }
            save_checkpoint(self.folder, self.at, partial(save_folder, self.vision), state)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Goes on from the newest checkpoint of the run, if there is one."""
        held = load_checkpoint(self.folder)
        if held is None:
            return
        saved, state = held
        self.vision.load_state_dict(read_weights(saved / "model.safetensors"))
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.at = state["step"]

    def _views(self, batch: Batch) -> Pixels:
        """This rank's pictures on the device, of which rows start to stop are cut as they are used.

        The draws are of the global batch and the step, so that a picture embedded twice is cut
        alike, and in every world size.
        """
        settings, b = self.settings, len(batch.rows)
        pixels = batch.pixels.to(self.device, non_blocking=True)
        first = self.accelerator.process_index * b
        draws = settings.augmentation.draws(settings.seed, self.at, settings.batch)
        draws = draws[first : first + b].to(self.device)
        side_px = self.vision.config.image_size

        def view(start: int, stop: int) -> Tensor:
            rows = slice(start, stop)
            return augmented(pixels[rows], draws[rows], settings.augmentation, side_px)

        return view

    def _styles(self, batch: Batch) -> Tensor:
        return torch.from_numpy(self.pictures.styles[batch.rows]).to(self.device)

    def _update(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.at += 1
        if self.ema:
            pairs = zip(self.ema.parameters(), self.vision.parameters(), strict=True)
            for average, weight in pairs:
                average.lerp_(weight.detach(), 1 - self.settings.ema)

    def _plan(self, free: int) -> memory.Plan:
        settings, config, world = self.settings, self.vision.config, self.accelerator.num_processes
        is_half = self.dtype != torch.float32
        state = memory.state_bytes(
            sum(weight.numel() for weight in self.vision.parameters()),
            moments=MOMENTS[settings.optimizer],
            has_average=self.ema is not None,
            is_half=is_half,
            world=world,
        )
        prompts = self.objective.prompts
        held = 0 if prompts is None else prompts.nbytes
        return memory.plan(
            memory.footprint(config, is_half=is_half, is_compiled=settings.layout.compile),
            pictures=settings.batch // world,
            fixed=state + held + self._batch_bytes(),
            free=free,
            chunk=settings.layout.chunk,
            every=settings.layout.recompute,
        )

    def _batch_bytes(self) -> int:
        settings = self.settings
        decoded_px = settings.augmentation.decoded_px(self.vision.config.image_size)
        mine = settings.batch // self.accelerator.num_processes
        return memory.batch_bytes(settings.batch, mine, decoded_px)

    def _rehearse(self, chunk: int) -> None:
        """Takes the memory of a step with that chunk, and changes nothing."""
        moments = 0 if self.optimizer.state else MOMENTS[self.settings.optimizer]
        number = sum(weight.numel() for weight in self.vision.parameters())
        later = number * memory.FLOAT * moments + self._batch_bytes()
        side_px = self.vision.config.image_size
        size = min(chunk, self.plan.pictures)
        try:
            held = torch.empty(later, dtype=torch.uint8, device=self.device)
            pictures = torch.zeros(size, 3, side_px, side_px, device=self.device)
            StyleTower(self.vision, self.dtype)(pictures).sum().backward()
            del held
        finally:
            self.optimizer.zero_grad(set_to_none=True)

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


def _compute_twice(vision: SiglipVisionModel, every: int) -> None:
    """Every n-th layer keeps its input alone and is computed again for the backward pass."""
    again = partial(checkpoint, use_reentrant=False)
    layers: Any = vision.encoder.layers
    for layer in layers[::every] if every else ():
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = again


def _row(found: tuple[int, Any]) -> int:
    return found[0]


def _chosen(dtype: str, device: torch.device) -> str:
    return ("bfloat16" if device.type == "cuda" else "float32") if dtype == "auto" else dtype
