"""The style encoder's training from the first step to the last, to a signal, or to bad luck."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object

from megastyle_cli.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.models.tower import count_tensors
from megastyle_cli.record import Failure
from megastyle_cli.training.checkpoint import Journal, export
from megastyle_cli.training.data import Loader, Pictures
from megastyle_cli.training.optimizer import learning_rate
from megastyle_cli.training.sampler import GroupSampler
from megastyle_cli.training.trainer import DTYPES, Trainer

log = logging.getLogger(__name__)

# unit rows (n, d), labels, contents if they are known -> measures
Score = Callable[[Any, Sequence[str], Sequence[str] | None], dict[str, Any]]


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


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Pictures of styles to validate on, what each shows if that is known, how to score them."""

    pictures: Pictures
    contents: list[str] | None
    score: Score

    def measure(self, vectors: Any, rows: Sequence[int]) -> dict[str, float]:
        """What `score` says of the pictures `rows`, whose unit vectors (n, d) are in that order."""
        told = self.pictures
        labels = [told.style_ids[told.styles[row]] for row in rows]
        contents = None if self.contents is None else [self.contents[row] for row in rows]
        return self.score(vectors, labels, contents)


def start_accelerator() -> Accelerator:
    """The processes that accelerate or torchrun started, or this one alone.

    Raises MegastyleError if each process, or each node, believes it is alone: a CPU has to be asked
    for by name.
    """
    refuse_lonely_nodes(os.environ)
    exchange = DistributedDataParallelKwargs(broadcast_buffers=False)  # they are all constants
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[exchange]
    )
    expected = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != expected:
        raise MegastyleError(
            f"{expected} processes were started and {accelerator.num_processes} found each other",
            hint="start with: accelerate launch -m megastyle_cli train-encoder ...",
        )
    return accelerator


def refuse_lonely_nodes(environ: Mapping[str, str]) -> None:
    """Raises MegastyleError if a launcher on each of several nodes joined only its own processes.

    Slurm says how many nodes share the step, torchrun (which accelerate starts) how many joined.
    """
    nodes, joined = environ.get("SLURM_STEP_NUM_NODES"), environ.get("GROUP_WORLD_SIZE")
    if nodes and joined and int(joined) < int(nodes):
        raise MegastyleError(
            f"the Slurm step has {nodes} nodes and this launcher joined {joined} of them",
            hint="give accelerate launch --num_machines and one --main_process_ip for all nodes",
        )


def train(
    trainer: Trainer,
    sampler: GroupSampler,
    held_out: HeldOut,
    journal: Journal,
    *,
    stop: Stop,
    may_fail: Callable[[int], bool],
    moved: Callable[[int], None],
) -> Ended:
    """Trains from where `trainer` stands to the last step, or to a signal.

    `may_fail` says whether so many pictures may be unusable, `moved` hears the step. Raises
    MegastyleError (exit 3), with a checkpoint, if too many are.
    """
    settings, layout, accelerator = trainer.settings, trainer.settings.layout, trainer.accelerator
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
    try:
        if trainer.at < settings.steps:
            trainer.settle_chunk()
        if trainer.at == 0:
            measured = _validate(trainer, held_out, journal)
        began = time.monotonic()
        for batch in loader.batches(trainer.at, settings.steps):
            lr = learning_rate(trainer.at, settings)
            losses = trainer.step(batch)
            now = time.monotonic()
            seconds, began = now - began, now
            pace = {
                "images_per_s": round(settings.batch / seconds, 2),
                "seconds": round(seconds, 4),
            }
            journal.measure({"step": trainer.at, **losses, "lr": lr, **pace})
            moved(trainer.at)
            _keep_count(trainer, batch.failures, journal, may_fail)
            is_last = trainer.at == settings.steps
            if is_last or trainer.at % layout.validate_every == 0:
                measured = _validate(trainer, held_out, journal)
                began = time.monotonic()
            is_stopped = _any(stop.requested, accelerator)
            if is_last or is_stopped or trainer.at % layout.checkpoint_every == 0:
                trainer.save()
            if is_stopped:
                break
    finally:
        loader.close()
    finished = None
    if trainer.at == settings.steps:
        if accelerator.is_main_process:
            dtype = DTYPES[layout.export_dtype]
            finished = export(trainer.folder, trainer.ema or trainer.vision, dtype)
        accelerator.wait_for_everyone()
    return Ended(step=trainer.at, losses=losses, held_out=measured, encoder=finished)


def plan(trainer: Trainer, sampler: GroupSampler) -> list[str]:
    """What is about to happen, in words: size, batch, memory, steps, where the prompts are from."""
    settings, world = trainer.settings, trainer.accelerator.num_processes
    number = sum(weight.numel() for weight in trainer.vision.parameters())
    dtype = str(trainer.dtype).removeprefix("torch.")
    lines = [
        f"{number:,} parameters in {count_tensors(trainer.vision)} tensors,"
        f" pictures of {trainer.vision.config.image_size} px, {dtype}",
        f"batch {settings.batch:,} = {settings.groups:,} styles x {settings.k},"
        f" {world} x {settings.batch // world:,} on {trainer.device.type}",
        f"memory: {trainer.plan.sentence}",
        f"{settings.steps:,} steps of {settings.optimizer}, {settings.schedule} schedule,"
        f" {sampler.steps_per_epoch:,} an epoch, from step {trainer.at:,}",
    ]
    text = trainer.objective.text
    if text is not None:
        lines.append(
            f"prompts by {text.name}, scale {text.scale:.1f}, bias {text.bias:.1f},"
            f" weight {settings.text_weight}"
        )
    return lines


def _validate(trainer: Trainer, held_out: HeldOut, journal: Journal) -> dict[str, float]:
    if not len(held_out.pictures):
        return {}
    vectors, rows, failures = trainer.embed(held_out.pictures)
    for failure in failures:
        journal.fail(failure)
    if not rows or not trainer.accelerator.is_main_process:
        return {}
    measured = held_out.measure(vectors, rows)
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
