"""The style encoder's training from the first step to the last, to a signal, or to bad luck."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from megastyle_cli.core.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.models.encoders.siglip_vision import count_tensors
from megastyle_cli.training.common.checkpoint import export
from megastyle_cli.training.common.distributed import any_rank
from megastyle_cli.training.common.loop import Measured, Pace, Stop, refuse_too_many, train_steps
from megastyle_cli.training.common.metrics_log import Journal
from megastyle_cli.training.common.run import Ended
from megastyle_cli.training.encoder.data import Batch, Loader, Pictures
from megastyle_cli.training.encoder.optimizer import learning_rate
from megastyle_cli.training.encoder.sampler import GroupSampler
from megastyle_cli.training.encoder.trainer import DTYPES, Trainer

log = logging.getLogger(__name__)

# unit rows (n, d), labels, contents if they are known -> measures
Score = Callable[[Any, Sequence[str], Sequence[str] | None], dict[str, Any]]


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
    MegastyleError (exit 3), with a checkpoint, if too many are, or if no picture opens any more.
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
    measured: Measured = {}
    try:
        if trainer.at < settings.steps:
            trainer.settle_chunk()
        validate = partial(_validate, trainer, held_out, journal, may_fail)
        if trainer.at == 0:
            measured = validate()
        losses, later = train_steps(
            trainer,
            _whole(loader.batches(trainer.at, settings.steps), trainer),
            journal,
            Pace(
                steps=settings.steps,
                batch=settings.batch,
                noun="images",
                checkpoint_every=layout.checkpoint_every,
                chores={layout.validate_every: [validate]},
            ),
            rate=partial(learning_rate, settings=settings),
            stop=stop,
            may_fail=may_fail,
            moved=moved,
        )
    finally:
        loader.close()
    finished = None
    if trainer.at == settings.steps:
        if accelerator.is_main_process:
            dtype = DTYPES[layout.export_dtype]
            finished = export(trainer.folder, trainer.ema or trainer.vision, dtype)
        accelerator.wait_for_everyone()
    return Ended(step=trainer.at, losses=losses, held_out={**measured, **later}, finished=finished)


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
    in_parquet = sum(".parquet#" in name for name in trainer.pictures.names)
    if in_parquet:
        lines.append(
            f"{in_parquet:,} pictures lie in parquet, where a group of rows is read for each:"
            " --pack DIR once, and training from DIR, feeds a GPU"
        )
    text = trainer.objective.text
    if text is not None:
        lines.append(
            f"prompts by {text.name}, scale {text.scale:.1f}, bias {text.bias:.1f},"
            f" weight {settings.text_weight}"
        )
    return lines


def _whole(batches: Iterable[Batch], trainer: Trainer) -> Iterator[Batch]:
    """`batches`, as long as every rank's part is filled.

    Raises MegastyleError (exit 3), with a checkpoint, when one is not: no picture opens. These are
    not counted as unusable, since it is their place that is gone, and a resumed run may have them.
    """
    for batch in batches:
        if any_rank(not batch.is_whole, trainer.accelerator):
            trainer.save()
            raise MegastyleError(
                f"at step {trainer.at:,} none of the {len(trainer.pictures):,} pictures to train on"
                " can be opened",
                hint="look where they are; --resume goes on from here",
                exit_code=TOO_MANY_FAILURES,
            )
        yield batch


def _validate(
    trainer: Trainer, held_out: HeldOut, journal: Journal, may_fail: Callable[[int], bool]
) -> Measured:
    if not len(held_out.pictures):
        return {}
    vectors, rows, failures = trainer.embed(held_out.pictures)
    for failure in failures:
        if journal.fail(failure):
            log.warning("%s", failure.message)
    refuse_too_many(journal, may_fail, trainer.save)
    if not rows or not trainer.accelerator.is_main_process:
        return {}
    measured = held_out.measure(vectors, rows)
    journal.measure({"step": trainer.at, "held_out": measured})
    shown = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
    log.info("step %d, held-out styles: %s", trainer.at, shown)
    return measured
