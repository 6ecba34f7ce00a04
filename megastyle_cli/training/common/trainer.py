"""The training loop of both trainers: batch, gradient, update, log, validate, save, stop.

`Trainer.train` is the loop and `Trainer.train_step` one update. What differs is in the subclasses,
encoder/trainer.py and flux/trainer.py: the model, the batches, the gradient of a batch, validation,
what is saved and what is exported.
"""

import json
import logging
import math
import operator
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.device import resolve_dtype
from megastyle_cli.training.common.checkpoint import (
    checkpoint_path,
    damaged_checkpoint_named,
    delete_replaced,
    load_checkpoint,
    new_checkpoint,
    publish_checkpoint,
)
from megastyle_cli.training.common.config import TrainingConfig
from megastyle_cli.training.common.memory_plan import MemoryPlan
from megastyle_cli.training.common.memory_probe import fit_micro_batch
from megastyle_cli.training.common.optimizer import learning_rate
from megastyle_cli.training.common.run import Metrics, RunContext, TrainingResult
from megastyle_cli.training.common.run_folder import mark_stopped, write_text

log = logging.getLogger(__name__)

ADVICE = "continue from the last checkpoint with a lower --lr and --resume --force"


class TrainingBatch(Protocol):
    """One rank's part of a step."""

    failures: list[Failure]  # images in it that could not be used


Batch = TypeVar("Batch", bound=TrainingBatch)


class Trainer(ABC, Generic[Batch]):
    """A model in training: its weights, optimizer and step, and the loop that advances them.

    A subclass builds the model in its `__init__` and sets the attributes below, then implements the
    abstract methods. After `restore`, training continues exactly where the checkpoint was made.
    """

    items: ClassVar[str]  # what a batch is made of, in metrics.jsonl: images_per_s
    noun: ClassVar[str]  # the same in messages
    out_of_memory_hint: ClassVar[str]

    trained: list[nn.Parameter]  # the weights that the optimizer updates
    ema: list[Tensor]  # their averages; empty if none are kept
    optimizer: torch.optim.Optimizer
    plan: MemoryPlan
    micro_batch: int  # items processed at once on a device
    sample_every: int = 0  # steps between samples; 0: none

    def __init__(self, config: TrainingConfig, num_steps: int, context: RunContext) -> None:
        self.context, self.accelerator = context, context.accelerator
        self.folder, self.device = context.folder, context.accelerator.device
        self.num_steps = num_steps
        self.step = 0  # updates made
        self.config = config
        self.dtype = resolve_dtype(None if config.dtype == "auto" else config.dtype, self.device)

    def train(self) -> TrainingResult:
        """Trains until the last step, or until a signal; exports the weights after the last step.

        Validation, samples and checkpoints are made at their intervals, and after the last step.
        Raises MegastyleError, with a checkpoint, if too many images are unusable (exit 3), and
        without one if the loss, the gradient or a weight is not finite (exit 1) or if another
        process has taken the folder over (exit 75).
        """
        self.context.stop.at_once = False  # the model is loaded: from now on progress is saved
        losses: Metrics = {}
        held_out: Metrics = {}
        config, metrics = self.config, self.context.metrics
        metrics.start_tensorboard(self.step)
        with (
            self.context.track_progress(self.step, self.num_steps) as progress,
            closing(self.batches()) as batches,
        ):
            if self.step < self.num_steps:
                self.fit_micro_batch()
            if self.step == 0:
                held_out |= self.validate()
            started = time.monotonic()
            while self.step < self.num_steps:
                batch = next(batches)
                lr = learning_rate(self.step, self.num_steps, config)
                losses = self.train_step(batch, lr)
                self.context.check_owner()
                seconds = time.monotonic() - started
                started += seconds
                metrics.log({"step": self.step, **losses, "lr": lr, **self._speed(seconds)})
                progress.update(self.step, losses)
                self.log_failures(batch.failures)
                if self._is_due(config.validate_every):
                    held_out |= self.validate()
                    started = time.monotonic()
                if self._is_due(self.sample_every):
                    self.paint_samples()
                    started = time.monotonic()
                is_stopped = self.context.should_stop()
                if is_stopped or self._is_due(config.checkpoint_every):
                    self.save_checkpoint()
                if is_stopped:
                    break
        is_complete = self.step == self.num_steps
        finished: Path | None = None
        if self.accelerator.is_main_process and is_complete:
            self.context.check_owner()
            with self.ema_weights():
                finished = self.export()
        elif self.accelerator.is_main_process:
            mark_stopped(self.folder)
        self.accelerator.wait_for_everyone()
        return TrainingResult(
            step=self.step,
            num_steps=self.num_steps,
            losses=losses,
            held_out=held_out,
            finished=finished,
        )

    def train_step(self, batch: Batch, lr: float) -> Metrics:
        """One update with this rank's part of the global batch; the losses before it.

        Raises MegastyleError (exit 1) if the loss or the gradient is not finite, before any weight
        changes, and saves the ids of the batch.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.forward_backward(batch)
        norm = nn.utils.clip_grad_norm_(self.trained, self.config.clip or math.inf)
        losses["gradient_norm"] = float(norm)
        self._check_losses_finite(losses, self.batch_ids(batch))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.step += 1
        for average, weight in zip(self.ema, self.trained, strict=False):
            average.lerp_(weight.detach(), 1 - self.config.ema)
        return losses

    @abstractmethod
    def batches(self) -> Generator[Batch, None, None]:
        """This rank's batches from the current step to the last; closing it ends its threads."""

    @abstractmethod
    def forward_backward(self, batch: Batch) -> Metrics:
        """Adds the gradient of the global batch's loss to the trained weights; the losses."""

    @abstractmethod
    def batch_ids(self, batch: Batch) -> list[str]:
        """The ids of the records in a batch."""

    @abstractmethod
    def validate(self) -> Metrics:
        """Scores the current weights on held-out styles; empty if there are none.

        Every rank must call it.
        """

    def paint_samples(self) -> None:
        """Saves images made by the current weights; for trainers with `sample_every`."""

    @abstractmethod
    def write_weights(self, folder: Path) -> None:
        """Writes the trained weights, exactly, to the folder of a checkpoint."""

    @abstractmethod
    def read_weights(self, folder: Path) -> None:
        """Reads the trained weights back from the folder of a checkpoint."""

    @abstractmethod
    def ema_state(self) -> dict[str, Any]:
        """The averaged weights as training.pt holds them."""

    @abstractmethod
    def load_ema(self, state: dict[str, Any]) -> None:
        """Copies the averaged weights from the state of training.pt."""

    @abstractmethod
    def export(self) -> Path:
        """Writes the finished weights to the run folder; called on the first rank."""

    @abstractmethod
    def probe_memory(self, micro_batch: int) -> None:
        """Takes the memory of a step with that micro-batch, and changes no weight."""

    def restore(self) -> None:
        """Continues from the newest checkpoint of the run, if there is one.

        Metrics that were logged after it are deleted.
        """
        checkpoint = load_checkpoint(self.folder)
        if checkpoint is not None:
            saved, state = checkpoint
            with damaged_checkpoint_named(saved):
                self.read_weights(saved)
                self.optimizer.load_state_dict(state["optimizer"])
                self.load_ema(state)
                self.step = operator.index(state["step"])
            if self.accelerator.is_main_process:
                delete_replaced(self.folder)  # a kill may have come before
        self.context.metrics.discard_after(self.step)

    def save_checkpoint(self) -> None:
        """Writes a checkpoint of this step; the first rank writes, the others wait.

        Raises MegastyleError (exit 1) if the weights are not finite.
        """
        self._check_weights_finite()
        if self.accelerator.is_main_process:
            if not checkpoint_path(self.folder, self.step).exists():  # a signal may follow a save
                state = {"optimizer": self.optimizer.state_dict(), **self.ema_state()}
                with new_checkpoint(self.folder, self.step, state) as folder:
                    self.write_weights(folder)
                    self.context.check_owner()
            self.context.check_owner()
            publish_checkpoint(self.folder, self.step)
        self.accelerator.wait_for_everyone()

    def fit_micro_batch(self) -> None:
        """Where memory is tight, halves the micro-batch until it fits; the gradient is the same."""
        if self.plan.is_tight:
            self.micro_batch = fit_micro_batch(
                self.micro_batch,
                self.probe_memory,
                self.accelerator,
                self.noun,
                self.out_of_memory_hint,
            )

    @contextmanager
    def ema_weights(self) -> Iterator[None]:
        """Inside, the averaged weights are in place, if there are any, and no graph is built."""
        self._swap_ema()
        try:
            with torch.no_grad():
                yield
        finally:
            self._swap_ema()

    def log_failures(self, failures: Sequence[Failure]) -> None:
        """Logs images that could not be used; every rank must call it.

        Raises MegastyleError (exit 3), with a checkpoint, if there are too many by now.
        """
        self.context.log_failures(failures)
        if self.context.has_too_many_failures():
            self.save_checkpoint()
            raise self.context.too_many_failures()

    def log_validation(self, scores: Metrics) -> None:
        """Logs what a validation measured."""
        self.context.metrics.log({"step": self.step, "held_out": scores})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        log.info("step %d, held-out styles: %s", self.step, shown)

    def _is_due(self, every: int) -> bool:
        """Whether something done every n steps, and after the last, is due now."""
        return every > 0 and (self.step == self.num_steps or self.step % every == 0)

    def _speed(self, seconds: float) -> Metrics:
        return {
            f"{self.items}_per_s": round(self.config.global_batch / seconds, 2),
            "seconds": round(seconds, 4),
        }

    def _swap_ema(self) -> None:
        for weight, average in zip(self.trained, self.ema, strict=False):
            weight.data, average.data = average.data, weight.data

    def _check_losses_finite(self, losses: Metrics, ids: list[str]) -> None:
        """Raises MegastyleError (exit 1), with the batch's ids in a file, if a loss is not finite.

        `losses` are the same on all ranks, `ids` are this rank's.
        """
        wrong = {name: value for name, value in losses.items() if not math.isfinite(value)}
        if not wrong:
            return
        ids = gather_object(ids)
        path = self.folder / f"stopped-at-{self.step:08}.json"
        name, value = next((name.replace("_", " "), value) for name, value in wrong.items())
        if self.accelerator.is_main_process:
            facts = {"step": self.step, name: str(value), "ids": ids}
            write_text(path, json.dumps(facts) + "\n")
        raise MegastyleError(
            f"the {name} is {value} at step {self.step}; the ids of its batch are in {path}",
            hint=f"check those images, or {ADVICE}",
            exit_code=UNEXPECTED,
        )

    def _check_weights_finite(self) -> None:
        """Raises MegastyleError (exit 1) if a weight is not finite; all ranks raise together."""
        if all(bool(weight.isfinite().all()) for weight in [*self.trained, *self.ema]):
            return
        raise MegastyleError(
            f"the weights are not finite after step {self.step}; no checkpoint was saved",
            hint=ADVICE,
            exit_code=UNEXPECTED,
        )
