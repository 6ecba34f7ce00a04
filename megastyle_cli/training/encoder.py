"""The style encoder's training from the first step to the last, to a signal, or to bad luck."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from megastyle_cli.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.models.tower import count_tensors
from megastyle_cli.record import Failure
from megastyle_cli.training.checkpoint import Journal, export
from megastyle_cli.training.data import Loader, Pictures
from megastyle_cli.training.sampler import GroupSampler
from megastyle_cli.training.trainer import DTYPES, Trainer, learning_rate

log = logging.getLogger(__name__)

Score = Callable[[Any, Sequence[str]], dict[str, float]]  # unit rows (n, d), labels -> measures


class Stop(Protocol):
    """Whether someone asked us to stop after the step in hand."""

    requested: bool


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How far a training came, with its last losses, and the finished encoder if it is finished."""

    step: int
    losses: dict[str, float]
    held_out: dict[str, float]
    encoder: Path | None


def start_accelerator() -> Accelerator:
    """The processes that accelerate or torchrun started, or this one alone.

    Raises MegastyleError if each process believes it is alone: a CPU has to be asked for by name.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision="no")
    expected = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != expected:
        raise MegastyleError(
            f"{expected} processes were started and {accelerator.num_processes} found each other",
            hint="start with: accelerate launch -m megastyle_cli train-encoder ...",
        )
    return accelerator


def train(
    trainer: Trainer,
    sampler: GroupSampler,
    held_out: Pictures,
    journal: Journal,
    *,
    score: Score,
    stop: Stop,
    may_fail: Callable[[int], bool],
    moved: Callable[[int], None],
) -> Ended:
    """Trains from where `trainer` stands to the last step, or to a signal.

    `score` measures held-out pictures, `may_fail` says whether so many pictures may be unusable,
    `moved` hears the step. Raises MegastyleError (exit 3), with a checkpoint, if too many are.
    """
    settings, accelerator = trainer.settings, trainer.accelerator
    side_px = settings.augmentation.decoded_px(trainer.vision.config.image_size)
    loader = Loader(
        trainer.pictures,
        sampler,
        side_px=side_px,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    losses: dict[str, float] = {}
    measured: dict[str, float] = {}
    size = settings.groups * settings.k
    try:
        if trainer.at == 0:
            measured = _validate(trainer, held_out, journal, score)
        began = time.monotonic()
        for batch in loader.batches(trainer.at, settings.steps):
            lr = learning_rate(trainer.at, settings)
            losses = trainer.step(batch)
            now = time.monotonic()
            seconds, began = now - began, now
            pace = {"images_per_s": round(size / seconds, 2), "seconds": round(seconds, 4)}
            journal.measure({"step": trainer.at, **losses, "lr": lr, **pace})
            moved(trainer.at)
            _keep_count(trainer, batch.failures, journal, may_fail)
            is_last = trainer.at == settings.steps
            if is_last or trainer.at % settings.validate_every == 0:
                measured = _validate(trainer, held_out, journal, score)
                began = time.monotonic()
            is_stopped = _any(stop.requested, accelerator)
            if is_last or is_stopped or trainer.at % settings.checkpoint_every == 0:
                trainer.save()
            if is_stopped:
                break
    finally:
        loader.close()
    finished = None
    if trainer.at == settings.steps:
        if accelerator.is_main_process:
            dtype = DTYPES[settings.export_dtype]
            finished = export(trainer.folder, trainer.ema or trainer.vision, dtype)
        accelerator.wait_for_everyone()
    return Ended(step=trainer.at, losses=losses, held_out=measured, encoder=finished)


def plan(trainer: Trainer, sampler: GroupSampler) -> list[str]:
    """What is about to happen, in words: size, batch, steps, memory as far as it is known."""
    settings, world = trainer.settings, trainer.accelerator.num_processes
    size = settings.groups * settings.k
    number = sum(weight.numel() for weight in trainer.vision.parameters())
    passes = "one pass" if size // world <= settings.chunk else f"chunks of {settings.chunk}"
    dtype = str(trainer.dtype).removeprefix("torch.")
    lines = [
        f"{number:,} parameters in {count_tensors(trainer.vision)} tensors,"
        f" pictures of {trainer.vision.config.image_size} px, {dtype}",
        f"batch {size:,} = {settings.groups:,} styles x {settings.k}, {world} x {size // world:,}"
        f" on {trainer.device.type} in {passes}",
        f"{settings.steps:,} steps, {sampler.steps_per_epoch:,} an epoch, from step {trainer.at:,}",
    ]
    if trainer.text is not None:
        lines.append(
            f"prompts by {trainer.text.name}, scale {trainer.text.scale:.1f},"
            f" bias {trainer.text.bias:.1f}, weight {settings.text_weight}"
        )
    if trainer.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(trainer.device)
        lines.append(
            f"memory: {number * 16 / 2**30:.1f} GiB for weights, gradients and moments;"
            f" {free / 2**30:.1f} of {total / 2**30:.1f} GiB free now"
        )
    return lines


def _validate(
    trainer: Trainer, held_out: Pictures, journal: Journal, score: Score
) -> dict[str, float]:
    if not len(held_out):
        return {}
    vectors, labels, failures = trainer.embed(held_out)
    for failure in failures:
        journal.fail(failure)
    if not labels or not trainer.accelerator.is_main_process:
        return {}
    measured = score(vectors, labels)
    journal.measure({"step": trainer.at, "held_out": measured})
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    log.info("step %d, held-out styles: %s", trainer.at, shown)
    return measured


def _keep_count(
    trainer: Trainer, failures: list[Failure], journal: Journal, may_fail: Callable[[int], bool]
) -> None:
    if not _any(bool(failures), trainer.accelerator):
        return
    for failure in gather_object(failures):
        if journal.fail(failure):
            log.warning("%s", failure.message)
    refuse_too_many(journal, may_fail, trainer.save)


def refuse_too_many(
    journal: Journal, may_fail: Callable[[int], bool], save: Callable[[], None] | None = None
) -> None:
    """Raises MegastyleError (exit 3) if more pictures are unusable than tolerated."""
    if may_fail(len(journal.told)):
        return
    if save is not None:
        save()
    raise MegastyleError(
        f"{len(journal.told):,} records cannot be used, more than --max-errors allows",
        hint=f"see {journal.folder / 'errors.jsonl'}; --resume --max-errors N goes on",
        exit_code=TOO_MANY_FAILURES,
    )


def _any(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is up on any rank, so that all do the same."""
    mine = torch.tensor([flag], device=accelerator.device)
    return bool(accelerator.gather(mine).any())
