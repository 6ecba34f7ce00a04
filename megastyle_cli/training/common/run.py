"""What every training does around its steps: the folder, the journal, progress, the last words."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from megastyle_cli.core.errors import DONE, TRY_AGAIN, USAGE, MegastyleError
from megastyle_cli.core.record import Failure, Run, annotate
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.runner.progress import Progress, Stats, duration, say
from megastyle_cli.runner.signals import stop_signals
from megastyle_cli.training.common.checkpoint import (
    mark_stopped,
    occupied,
    put_back,
    refuse_run,
    start_run,
)
from megastyle_cli.training.common.distributed import refuse_uneven, start_accelerator
from megastyle_cli.training.common.loop import Measured, Stop, refuse_too_many
from megastyle_cli.training.common.metrics_log import Journal

Allows = Callable[[int, int], bool]  # are so many failures of so many records tolerated


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What the flags say about an output that exists."""

    resume: bool
    overwrite: bool
    force: bool


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How far a training came, with its last losses, and what it made if it is finished."""

    step: int
    losses: Measured
    held_out: Measured
    finished: Path | None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a training writes, what its records were good for, and how loud it is."""

    run: Run
    folder: Path
    existing: Existing
    steps: int
    batch: int  # over all devices
    num_read: int
    num_used: int
    failures: Sequence[Failure]  # records that are none to train on
    allows: Allows
    stats: Path | None
    quiet: bool

    def may_fail(self, num_failed: int) -> bool:
        """Whether so many unusable records are tolerated."""
        return self.allows(num_failed, self.num_read)


Follow = Callable[[Place, Accelerator, Journal, Stop], Ended]


def carry_out(place: Place, follow: Follow, *, material: str, work: str, dry_run: bool) -> int:
    """Trains in the folder by `follow`, tells how it went, and gives the exit code.

    `material` says what there is to train on, `work` what is made of it: `dry_run` only tells both.
    """
    if not place.quiet:
        say(material)
        if dry_run:
            say(f"would train {work}")
            say(f"would write to: {place.folder}")
    if dry_run:
        return DONE
    accelerator = start_accelerator(place.run.command)
    refuse_uneven(place.batch, accelerator)
    tally = Stats(place.run.command, read=place.num_read)
    return _conclude(place, _train(place, accelerator, follow, tally), tally)


@contextmanager
def watched(place: Place, journal: Journal, accelerator: Accelerator, at: int) -> Any:
    """Inside, a function that is told each step shows the progress from step `at` on.

    Measures go to trackers meanwhile.
    """
    steps = Stats(place.run.command, done_before=at)
    is_silent = place.quiet or not accelerator.is_main_process
    progress = Progress(steps, quiet=is_silent, to_stdout=False, total=place.steps - at)

    def moved(step: int) -> None:
        steps.read = steps.written = step - steps.done_before
        steps.failed = Counter(journal.told.values())
        progress.show()

    journal.track(at)
    try:
        yield moved
    finally:
        journal.close()
        progress.close()


def _train(place: Place, accelerator: Accelerator, follow: Follow, tally: Stats) -> Ended:
    """Trains in the folder, and counts what failed in `tally`."""
    is_first, existing = accelerator.is_main_process, place.existing
    is_new = not place.folder.exists() or not any(place.folder.iterdir())
    refuse_run(
        place.folder,
        place.run,
        resume=existing.resume,
        overwrite=existing.overwrite,
        force=existing.force,
    )
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    with stop_signals() as stop, occupied(place.folder) if is_first else nullcontext():
        if is_first:
            start_run(place.folder, place.run, overwrite=existing.overwrite)
        accelerator.wait_for_everyone()
        journal = Journal(place.folder, place.run.command, is_writing=is_first)
        try:
            for failure in place.failures:
                journal.fail(failure)
            refuse_too_many(journal, place.may_fail)
            ended = follow(place, accelerator, journal, stop)
        except MegastyleError as error:
            if is_first and error.exit_code == USAGE and (is_new or existing.overwrite):
                put_back(place.folder)  # or the mended command would find it in its way
            raise
        finally:
            tally.failed.update(journal.told.values())
        if is_first and ended.finished is None:
            mark_stopped(place.folder)
        return ended


def _conclude(place: Place, ended: Ended, tally: Stats) -> int:
    """The last sentence, the counts, and on stdout the finished weights as one JSON line."""
    code = DONE if ended.step == place.steps else TRY_AGAIN
    if int(os.environ.get("RANK", 0)) > 0:
        return code
    command = place.run.command
    tally.written = place.num_used
    if place.stats is not None:
        tally.measured = {"step": ended.step, **ended.losses, "held_out": ended.held_out}
        tally.write(place.stats)
    if not place.quiet:
        loss = f" \u00b7 loss {ended.losses['loss']:.4f}" if ended.losses else ""
        where = f" \u2192 {place.folder / 'errors.jsonl'}" if tally.num_failed else ""
        say(
            f"{command}: step {ended.step:,} of {place.steps:,}{loss}"
            f" \u00b7 {tally.num_failed:,} unusable{where} \u00b7 {duration(tally.seconds)}"
        )
        if code == TRY_AGAIN:
            say(f"{command}: stopped by a signal; the same command with --resume goes on")
    if code == DONE:
        told: dict[str, Any] = {"step": ended.step, **ended.losses}
        if ended.held_out:
            told["held_out"] = ended.held_out
        told["checkpoint"] = str(ended.finished)
        sys.stdout.buffer.write(dump_line(annotate(told, command, run=place.run.key)))
    return code
