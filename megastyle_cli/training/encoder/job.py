"""What `train-encoder` does around its steps: data, folder, plan, progress, the last words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from accelerate import Accelerator

from megastyle_cli import __version__
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.io.inputs import read_records
from megastyle_cli.runner.progress import say
from megastyle_cli.training.common.distributed import refuse_shared_stdin
from megastyle_cli.training.common.loop import Stop
from megastyle_cli.training.common.metrics_log import Journal
from megastyle_cli.training.common.run import Allows, Ended, Existing, Place, carry_out, watched
from megastyle_cli.training.encoder.config import Settings
from megastyle_cli.training.encoder.data import Pictures, Sorted, sort_records
from megastyle_cli.training.encoder.loop import HeldOut, Score, plan, train
from megastyle_cli.training.encoder.sampler import GroupSampler
from megastyle_cli.training.encoder.trainer import Trainer

COMMAND = "train-encoder"
MOST_HELD_OUT = 4096  # pictures that validation embeds and ranks


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
    refuse_shared_stdin(list(names))
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
    settings, found = job.settings, job.material.found
    place = Place(
        run=job.run,
        folder=job.folder,
        existing=job.existing,
        steps=settings.steps,
        batch=settings.batch,
        num_read=found.num_read,
        num_used=len(found.training),
        failures=found.failures,
        allows=job.allows,
        stats=job.stats,
        quiet=job.quiet,
    )
    work = f"{settings.steps:,} steps of {settings.batch:,} pictures from {settings.init}"
    return carry_out(
        place, partial(_follow, job), material=job.material.sentence, work=work, dry_run=dry_run
    )


def _follow(
    job: Job, place: Place, accelerator: Accelerator, journal: Journal, stop: Stop
) -> Ended:
    """The training itself, with its plan before it and its progress beside it."""
    material, settings = job.material, job.settings
    trainer = Trainer(settings, material.found.training, accelerator, job.folder)
    trainer.restore()
    journal.cut(trainer.at)
    if not job.quiet:
        for line in plan(trainer, material.sampler):
            say(line)
    held_out = HeldOut(pictures=material.held_out, contents=material.contents, score=job.score)
    with watched(place, journal, accelerator, trainer.at) as moved:
        return train(
            trainer,
            material.sampler,
            held_out,
            journal,
            stop=stop,
            may_fail=place.may_fail,
            moved=moved,
        )


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
            f"styles with two pictures or more to train on: {num_styles}, and it takes two",
            hint=f"give more pictures, or --label KEY if {label} is not the key of the style",
        )
    if sampler.steps_per_epoch == 0:
        most = sampler.num_groups * sampler.k
        raise MegastyleError(
            f"--global-batch {sampler.groups_per_batch * sampler.k:,} is more than an epoch of"
            f" {most:,} pictures",
            hint=f"give at most {most}",
        )
