"""What `train-flux` does around its steps: data, folder, plan, samples, the finished weights."""

import hashlib
import importlib.metadata
import logging
import platform
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from megastyle_cli import __version__
from megastyle_cli.core.errors import TOO_MANY_FAILURES, UNEXPECTED, MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.io.inputs import read_records
from megastyle_cli.runner.progress import say
from megastyle_cli.training.common.checkpoint import note_facts
from megastyle_cli.training.common.distributed import refuse_shared_stdin
from megastyle_cli.training.common.loop import Measured, Pace, Stop, train_steps
from megastyle_cli.training.common.memory_probe import told_where_full
from megastyle_cli.training.common.metrics_log import Journal
from megastyle_cli.training.common.run import Allows, Ended, Existing, Place, carry_out, watched
from megastyle_cli.training.encoder.optimizer import learning_rate
from megastyle_cli.training.encoder.trainer import DTYPES
from megastyle_cli.training.flux.batch import PairLoader
from megastyle_cli.training.flux.config import Settings
from megastyle_cli.training.flux.known_words import refusing
from megastyle_cli.training.flux.pairs import Found, PairSampler, pairs_of
from megastyle_cli.training.flux.trainer import SMALLER, WORDS, Trainer
from megastyle_cli.training.flux.validation import Draw, held_out_losses, paint_samples

log = logging.getLogger(__name__)

COMMAND = "train-flux"
PACKAGES = (
    *("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pillow"),
    *("torchao", "bitsandbytes"),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training of FLUX in `folder`, on the pairs that were found.

    `told` are the options that are in neither settings nor flags: which records, how many may fail.
    """

    settings: Settings
    told: dict[str, Any]
    found: Found
    sampler: PairSampler
    folder: Path
    existing: Existing
    allows: Allows
    draw: Draw
    stats: Path | None
    quiet: bool

    @property
    def run(self) -> Run:
        """The options that can change the weights, and which pairs they come from."""
        told = {**self.settings.deciding, "pairs": self.found.training.key}
        return Run(COMMAND, told, __version__)

    @property
    def sentence(self) -> str:
        """How many of what."""
        found = self.found
        epochs = self.settings.steps * self.settings.batch / len(found.training)
        return (
            f"{COMMAND}: {len(found.training):,} styles or pairs to train on,"
            f" {len(found.held_out):,} held out, {found.num_single:,} styles left out as they have"
            f" one picture, {len(found.failures):,} records unusable; each is drawn {epochs:,.1f}"
            " times"
        )


def gather_pairs(
    names: Sequence[str],
    *,
    limit: int | None,
    label: str,
    holdout: float,
    split_key: str | None,
    seed: int,
    model: str,
) -> Found:
    """The pairs that can be drawn from what `names` hold, in words that `model` knows.

    Raises MegastyleError (exit 3) if no pair is left for words it does not know.
    """
    refuse_shared_stdin(list(names))
    records = read_records(list(names), limit=limit)
    found = pairs_of(
        records,
        label=label,
        holdout=holdout,
        split_key=split_key,
        seed=seed,
        refuse=refusing(model),
    )
    unknown = [failure for failure in found.failures if failure.kind == "unknown_word"]
    if unknown and not len(found.training):
        raise MegastyleError(
            f"{len(unknown):,} of {found.num_read:,} records have words that {model} does not know,"
            f" and the others make no pair; the first: {unknown[0].message}",
            hint="give contents of words it knows, or another --model",
            exit_code=TOO_MANY_FAILURES,
        )
    return found


def run_training(job: Job, *, dry_run: bool) -> int:
    """Trains, tells how it went, and gives the exit code; `dry_run` only tells what it would do."""
    settings = job.settings
    place = Place(
        run=job.run,
        folder=job.folder,
        existing=job.existing,
        steps=settings.steps,
        batch=settings.batch,
        num_read=job.found.num_read,
        num_used=len(job.found.training),
        failures=job.found.failures,
        allows=job.allows,
        stats=job.stats,
        quiet=job.quiet,
    )
    work = f"{settings.steps:,} steps of {settings.batch:,} pairs from {settings.model}"
    return carry_out(
        place, partial(_follow, job), material=job.sentence, work=work, dry_run=dry_run
    )


def _follow(
    job: Job, place: Place, accelerator: Accelerator, journal: Journal, stop: Stop
) -> Ended:
    """The training itself, with its plan before it and its progress beside it."""
    prompts = {*job.found.training.prompts, *job.found.held_out.prompts}
    tell = _nothing if job.quiet else say
    with told_where_full(partial(_too_large, job.settings.model, accelerator)):
        trainer = Trainer(job.settings, accelerator, job.folder, sorted(prompts), tell)
        _note_origin(trainer, job)
        trainer.restore()
    journal.cut(trainer.at)
    if not job.quiet:
        for line in plan(trainer):
            say(line)
    watching = watched(place, journal, accelerator, trainer.at)
    # of encoding, validation, samples
    with watching as moved, told_where_full(trainer.told_full):
        return _train(job, place, trainer, journal, stop=stop, moved=moved)


def _train(
    job: Job,
    place: Place,
    trainer: Trainer,
    journal: Journal,
    *,
    stop: Stop,
    moved: Callable[[int], None],
) -> Ended:
    settings, accelerator, layout = job.settings, trainer.accelerator, job.settings.layout
    validate = partial(_validate, trainer, job, journal)
    shown = job.found.held_out if len(job.found.held_out) else job.found.training
    sample = partial(paint_samples, trainer, shown, job.draw)
    measured: Measured = {}
    loader = PairLoader(
        job.sampler,
        trainer.encoders,
        settings,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    chores: dict[int, list[Callable[[], Measured]]] = {layout.validate_every: [validate]}
    if layout.samples:
        chores.setdefault(layout.sample_every, []).append(sample)
    try:
        if trainer.at < settings.steps:
            trainer.settle_chunk()
        if trainer.at == 0:
            measured = validate()
        losses, later = train_steps(
            trainer,
            loader.batches(trainer.at, settings.steps),
            journal,
            Pace(
                steps=settings.steps,
                batch=settings.batch,
                noun="samples",
                checkpoint_every=layout.checkpoint_every,
                chores=chores,
            ),
            rate=partial(learning_rate, settings=settings),
            stop=stop,
            may_fail=place.may_fail,
            moved=moved,
        )
    finally:
        loader.close()
    finished = None
    if trainer.at == settings.steps:
        if accelerator.is_main_process:
            with trainer.at_rest():
                finished = trainer.student.finish(
                    trainer.folder, trainer.facts, DTYPES[layout.export_dtype]
                )
            shutil.rmtree(trainer.folder / WORDS, ignore_errors=True)
        accelerator.wait_for_everyone()
    held_out = {**measured, **later}
    return Ended(step=trainer.at, losses=losses, held_out=held_out, finished=finished)


def _too_large(model: str, accelerator: Accelerator) -> MegastyleError:
    return MegastyleError(
        f"{model} and what it takes to train it do not fit on {accelerator.device}",
        hint=SMALLER,
        exit_code=UNEXPECTED,
    )


def _nothing(_: str) -> None:
    pass


def plan(trainer: Trainer) -> list[str]:
    """What is about to happen, in words: weights, batch, memory, steps, noise levels."""
    settings, student = trainer.settings, trainer.student
    number = sum(weight.numel() for weight in trainer.trained)
    dtype = str(trainer.dtype).removeprefix("torch.")
    world = trainer.accelerator.num_processes
    kind = "all weights"
    if student.rank is not None:
        kind = f"a LoRA of rank {student.rank} on {len(student.targets)} modules"
    frozen = f", frozen ones in {settings.quantize}" if settings.quantize else ""
    return [
        f"{number:,} parameters to train: {kind} of {student.model}, {dtype}{frozen}",
        f"batch {settings.batch:,} = {world} x {settings.batch // world:,} pairs of"
        f" {settings.size_px} px on {trainer.device.type}",
        f"memory: {trainer.plan.sentence}",
        trainer.room.sentence,
        f"{settings.steps:,} steps of {settings.optimizer}, {settings.schedule} schedule, from step"
        f" {trainer.at:,}; noise levels {settings.timesteps}, loss weight {settings.loss_weight},"
        f" guidance {settings.guidance:g}",
    ]


def _validate(trainer: Trainer, job: Job, journal: Journal) -> Measured:
    measured = held_out_losses(trainer, job.found.held_out)
    if measured:
        journal.measure({"step": trainer.at, "held_out": measured})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
        log.info("step %d, held-out styles: %s", trainer.at, shown)
    return measured


def _note_origin(trainer: Trainer, job: Job) -> None:
    """Writes what a start was made with into run.json: model, LoRA, dtype, other options, versions.

    Raises MegastyleError if the run was begun with other frozen weights.
    """
    if not trainer.accelerator.is_main_process:
        return
    model, lora = trainer.student.model, job.settings.lora
    facts = {
        "model": model,
        "lora": lora and _digest(Path(lora).expanduser()),
        "dtype": str(trainer.dtype).removeprefix("torch."),
        "options": {**job.told, **asdict(job.settings.layout)},
        "packages": _versions(),
    }
    before = note_facts(trainer.folder, facts)
    if before.get("model", model).rpartition("@")[2] != model.rpartition("@")[2]:
        raise MegastyleError(
            f"{trainer.folder} was begun with {before['model']}, and this is {model}",
            hint="give the same --model, or another -o",
        )


def _digest(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    """The versions of Python and of those PACKAGES that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
