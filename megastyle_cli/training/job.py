"""What `train-encoder` does around its steps: data, folder, plan, progress, the last words."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from megastyle_cli import __version__
from megastyle_cli.errors import DONE, TRY_AGAIN, MegastyleError
from megastyle_cli.record import Failure, Record, Run, note
from megastyle_cli.stream.jsonl import dump_line
from megastyle_cli.stream.progress import Progress, Tally, duration, say
from megastyle_cli.stream.run import stop_signals
from megastyle_cli.stream.source import read_records
from megastyle_cli.training.checkpoint import (
    Journal,
    mark_stopped,
    occupied,
    refuse_run,
    start_run,
)
from megastyle_cli.training.data import Pictures, Sorted, sort_records
from megastyle_cli.training.encoder import (
    Ended,
    HeldOut,
    Score,
    plan,
    refuse_too_many,
    start_accelerator,
    train,
)
from megastyle_cli.training.sampler import GroupSampler
from megastyle_cli.training.settings import Settings
from megastyle_cli.training.trainer import Trainer

COMMAND = "train-encoder"
MOST_HELD_OUT = 4096  # pictures that validation embeds and ranks

Allows = Callable[[int, int], bool]  # are so many failures of so many records tolerated


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What the flags say about an output that exists."""

    resume: bool
    overwrite: bool
    force: bool


@dataclass(frozen=True, kw_only=True)
class Material:
    """The pictures to train on, how batches are drawn from them, and those held out."""

    found: Sorted
    sampler: GroupSampler
    held_out: Pictures
    contents: list[str] | None  # of the pictures held out

    @property
    def sentence(self) -> str:
        """How many of what."""
        found = self.found
        return (
            f"{COMMAND}: {len(found.training):,} pictures of {len(found.training.style_ids):,}"
            f" styles to train on, {len(found.held_out):,} of {len(found.held_out.style_ids):,}"
            f" held out, {found.num_single:,} left out as alone in their style,"
            f" {len(found.failures):,} unusable; {self.sampler.steps_per_epoch:,} steps an epoch"
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training in `folder`."""

    settings: Settings
    material: Material
    folder: Path
    existing: Existing
    allows: Allows
    score: Score
    stats: Path | None
    quiet: bool

    @property
    def run(self) -> Run:
        """The options that can change the weights, and which pictures they come from."""
        pictures = self.material.found.training.key
        return Run(COMMAND, {**self.settings.deciding, "pictures": pictures}, __version__)

    @property
    def may_fail(self) -> Callable[[int], bool]:
        """Whether so many unusable records are tolerated."""
        return partial(_allowed, self.allows, self.material.found.num_read)


def gather_material(
    names: Sequence[str],
    *,
    limit: int | None,
    label: str,
    content_label: str,
    holdout: float,
    split_key: str | None,
    global_batch: int,
    k: int,
    seed: int,
) -> Material:
    """The pictures that `names` hold, sorted by style, and batches of groups of `k` of a style.

    Raises MegastyleError if `k` does not divide `global_batch`, if the pictures do not make a
    batch, or if there are fewer than two styles.
    """
    groups = global_batch // k
    if global_batch % k:
        raise MegastyleError(
            f"--global-batch {global_batch} is not a multiple of --images-per-style {k}",
            hint=f"give {max(groups, 1) * k}",
        )
    if "-" in names and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError("several processes cannot share standard input", hint="name a file")
    shown: dict[str, str] = {}
    found = sort_records(
        _noting(read_records(list(names), limit=limit), content_label, shown),
        label=label,
        holdout=holdout,
        split_key=split_key,
        seed=seed,
    )
    sampler = GroupSampler(found.training.styles, groups_per_batch=groups, k=k, seed=seed)
    _refuse_too_few(len(found.training.style_ids), sampler, label)
    held_out = found.held_out.first_styles(MOST_HELD_OUT)
    contents = _contents_of(held_out, shown)
    return Material(found=found, sampler=sampler, held_out=held_out, contents=contents)


def run_training(job: Job, *, dry_run: bool) -> int:
    """Trains, tells how it went, and gives the exit code; `dry_run` only tells what it would do."""
    tally = Tally(COMMAND, read=job.material.found.num_read)
    settings = job.settings
    if not job.quiet:
        say(job.material.sentence)
        if dry_run:
            said = f"{settings.steps:,} steps of {settings.batch:,} pictures from {settings.init}"
            say(f"would train {said}")
            say(f"would write to: {job.folder}")
    if dry_run:
        return DONE
    return _conclude(job, _train(job, tally), tally)


def _train(job: Job, tally: Tally) -> Ended:
    """Trains in the folder, and counts what failed in `tally`."""
    accelerator = start_accelerator()
    is_first = accelerator.is_main_process
    if job.settings.batch % accelerator.num_processes:
        raise MegastyleError(
            f"a batch of {job.settings.batch:,} cannot be shared by"
            f" {accelerator.num_processes} processes",
            hint="give a --global-batch that they divide",
        )
    existing = job.existing
    refuse_run(
        job.folder,
        job.run,
        resume=existing.resume,
        overwrite=existing.overwrite,
        force=existing.force,
    )
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    with stop_signals() as stop, occupied(job.folder) if is_first else nullcontext():
        if is_first:
            start_run(job.folder, job.run, overwrite=existing.overwrite)
        accelerator.wait_for_everyone()
        journal = Journal(job.folder, is_writing=is_first)
        try:
            for failure in job.material.found.failures:
                journal.fail(failure)
            refuse_too_many(journal, job.may_fail)
            ended = _follow(job, journal, accelerator, stop)
        finally:
            tally.failed.update(journal.told.values())
        if is_first and ended.encoder is None:
            mark_stopped(job.folder)
        return ended


def _follow(job: Job, journal: Journal, accelerator: Accelerator, stop: Any) -> Ended:
    """The training itself, with its plan before it and its progress beside it."""
    material, settings = job.material, job.settings
    trainer = Trainer(settings, material.found.training, accelerator, job.folder)
    trainer.restore()
    journal.cut(trainer.at)
    if not job.quiet:
        for line in plan(trainer, material.sampler):
            say(line)
    steps = Tally(COMMAND, done_before=trainer.at)
    is_silent = job.quiet or not accelerator.is_main_process
    progress = Progress(steps, quiet=is_silent, to_stdout=False, total=settings.steps - trainer.at)

    def moved(step: int) -> None:
        steps.read = steps.written = step - steps.done_before
        steps.failed = Counter(journal.told.values())
        progress.show()

    held_out = HeldOut(pictures=material.held_out, contents=material.contents, score=job.score)
    try:
        return train(
            trainer,
            material.sampler,
            held_out,
            journal,
            stop=stop,
            may_fail=job.may_fail,
            moved=moved,
        )
    finally:
        progress.close()


def _conclude(job: Job, ended: Ended, tally: Tally) -> int:
    """The last sentence, the counts, and on stdout the finished encoder as one JSON line."""
    code = DONE if ended.step == job.settings.steps else TRY_AGAIN
    if int(os.environ.get("RANK", 0)) > 0:
        return code
    tally.written = len(job.material.found.training)
    if job.stats is not None:
        tally.measured = {"step": ended.step, **ended.losses, "held_out": ended.held_out}
        tally.write_stats(job.stats)
    if not job.quiet:
        loss = f" \u00b7 loss {ended.losses['loss']:.4f}" if ended.losses else ""
        where = f" \u2192 {job.folder / 'errors.jsonl'}" if tally.num_failed else ""
        say(
            f"{COMMAND}: step {ended.step:,} of {job.settings.steps:,}{loss}"
            f" \u00b7 {tally.num_failed:,} unusable{where} \u00b7 {duration(tally.seconds)}"
        )
        if code == TRY_AGAIN:
            say(f"{COMMAND}: stopped by a signal; the same command with --resume goes on")
    if code == DONE:
        told: dict[str, Any] = {"step": ended.step, **ended.losses}
        if ended.held_out:
            told["held_out"] = ended.held_out
        told["checkpoint"] = str(ended.encoder)
        sys.stdout.buffer.write(dump_line(note(told, COMMAND, run=job.run.key)))
    return code


def _noting(
    found: Iterable[Record | Failure], content_label: str, shown: dict[str, str]
) -> Iterator[Record | Failure]:
    """`found`, and in `shown` what the picture of each id shows, where a record says so."""
    for record in found:
        if not isinstance(record, Failure) and content_label in record:
            shown[record["id"]] = str(record[content_label])
        yield record


def _contents_of(held_out: Pictures, shown: dict[str, str]) -> list[str] | None:
    """What each picture held out shows; None if some do not say, or each style shows one thing."""
    contents = [shown[name] for name in held_out.ids if name in shown]
    pairs = set(zip(held_out.styles.tolist(), contents, strict=False))
    is_known = len(contents) == len(held_out) and len(pairs) > len(held_out.style_ids)
    return contents if is_known else None


def _refuse_too_few(num_styles: int, sampler: GroupSampler, label: str) -> None:
    if num_styles < 2:
        raise MegastyleError(
            f"there are {num_styles} styles with two pictures or more to train on,"
            " and it takes two",
            hint=f"give more pictures, or --label KEY if {label} is not the key of the style",
        )
    if sampler.steps_per_epoch == 0:
        most = sampler.num_groups * sampler.k
        raise MegastyleError(
            f"--global-batch {sampler.groups_per_batch * sampler.k:,} is more than an epoch of"
            f" {most:,} pictures",
            hint=f"give at most {most}",
        )


def _allowed(allows: Allows, num_read: int, num_failed: int) -> bool:
    return allows(num_failed, num_read)
