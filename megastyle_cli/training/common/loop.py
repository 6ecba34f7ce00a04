"""The steps of any training: measured, validated, saved, until the last, a signal, or bad luck."""

import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from megastyle_cli.core.errors import TOO_MANY_FAILURES, UNEXPECTED, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.training.common.atomic_folder import write_text, write_whole
from megastyle_cli.training.common.distributed import any_rank
from megastyle_cli.training.common.metrics_log import Journal

log = logging.getLogger(__name__)

Measured = dict[str, Any]
CALMER = "give a lower --lr with --resume --force, which goes on from the last checkpoint"


class Stop(Protocol):
    """Whether someone asked us to stop after the step in hand."""

    requested: bool


class Batch(Protocol):
    """One rank's part of a step."""

    @property
    def failures(self) -> Sequence[Failure]:
        """What could not be used in it."""


class Learning(Protocol):
    """A model that is trained: where it stands, one update, and its checkpoint."""

    at: int
    accelerator: Accelerator

    def step(self, batch: Any) -> Measured:
        """One update; the losses before it."""

    def save(self) -> None:
        """A checkpoint of this step."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many steps there are, of how many of what, and what is done how often."""

    steps: int
    batch: int
    noun: str  # of what a batch is made
    checkpoint_every: int
    chores: dict[int, list[Callable[[], Measured]]] = field(default_factory=dict)  # every n steps


def train_steps(
    learning: Learning,
    batches: Iterable[Batch],
    journal: Journal,
    pace: Pace,
    *,
    rate: Callable[[int], float],
    stop: Stop,
    may_fail: Callable[[int], bool],
    moved: Callable[[int], None],
) -> tuple[Measured, Measured]:
    """Works off `batches`; gives the last losses and what the chores measured last.

    `rate` is the learning rate of a step, `may_fail` says whether so many pictures may be unusable,
    `moved` hears the step. A chore is done every n steps and after the last. Raises MegastyleError
    (exit 3), with a checkpoint, if too many are unusable.
    """
    losses: Measured = {}
    measured: Measured = {}
    began = time.monotonic()
    for batch in batches:
        lr = rate(learning.at)
        losses = learning.step(batch)
        now = time.monotonic()
        seconds, began = now - began, now
        speed = {
            f"{pace.noun}_per_s": round(pace.batch / seconds, 2),
            "seconds": round(seconds, 4),
        }
        journal.measure({"step": learning.at, **losses, "lr": lr, **speed})
        moved(learning.at)
        _keep_count(learning, batch.failures, journal, may_fail)
        is_last = learning.at == pace.steps
        for every, chores in pace.chores.items():
            if is_last or learning.at % every == 0:
                for chore in chores:
                    measured |= chore()
                began = time.monotonic()
        is_stopped = any_rank(stop.requested, learning.accelerator)
        if is_last or is_stopped or learning.at % pace.checkpoint_every == 0:
            learning.save()
        if is_stopped:
            break
    return losses, measured


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


def refuse_no_number(
    losses: Measured, ids: list[str], step: int, folder: Path, accelerator: Accelerator
) -> None:
    """Raises MegastyleError (exit 1), with the batch's ids in a file, if a loss is no number.

    `losses` are the same on all ranks, `ids` those of this one.
    """
    wrong = {name: value for name, value in losses.items() if not math.isfinite(value)}
    if not wrong:
        return
    ids = gather_object(ids)
    path = folder / f"stopped-at-{step:08}.json"
    name, value = next((name.replace("_", " "), value) for name, value in wrong.items())
    if accelerator.is_main_process:
        told = json.dumps({"step": step, name: str(value), "ids": ids}) + "\n"
        write_whole(path, lambda aside: write_text(aside, told))
    raise MegastyleError(
        f"the {name} is {value} at step {step}; the ids of its batch are in {path}",
        hint=f"look at those pictures, or {CALMER}",
        exit_code=UNEXPECTED,
    )


def refuse_no_finite(weights: Iterable[Tensor], step: int) -> None:
    """Raises MegastyleError (exit 1) if a weight is infinite or no number: nothing to go on from.

    `weights` are the same on all ranks, so that all raise.
    """
    if all(bool(weight.isfinite().all()) for weight in weights):
        return
    raise MegastyleError(
        f"the weights after step {step} are not finite: no checkpoint was made of them",
        hint=CALMER,
        exit_code=UNEXPECTED,
    )


def _keep_count(
    learning: Learning,
    failures: Sequence[Failure],
    journal: Journal,
    may_fail: Callable[[int], bool],
) -> None:
    if not any_rank(bool(failures), learning.accelerator):
        return
    for failure in gather_object(list(failures)):
        if journal.fail(failure):
            log.warning("%s", failure.message)
    refuse_too_many(journal, may_fail, learning.save)
