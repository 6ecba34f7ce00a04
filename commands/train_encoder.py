"""Train the style encoder: a SigLIP image tower that puts pictures of one style together.

Examples:

  megastyle train-encoder synth/ --init google/siglip-so400m-patch14-384 -o runs/enc
  megastyle train-encoder icons/ --init small.json --text-weight 0 --global-batch 256 -o runs/small
  megastyle train-encoder synth/ --init runs/small/encoder -o runs/next --seed 1 --resume
  accelerate launch -m megastyle_cli train-encoder synth/ --init siglip/ -o runs/enc --resume

Reads style_id (or --label), style (the prompt) and file_name. The loss is style-supervised
contrast over the whole global batch plus an image-text sigmoid term; its gradient is exact however
small --chunk is. The paper states batch 8192, 30 epochs, learning rate 5e-4, the two terms and
their equal weight; every other default is ours. The last step leaves encoder/, which
SiglipVisionModel.from_pretrained and retrieve and eval --model read, and in it encoder.pth, the
official layout. SIGTERM saves and exits 75; --resume goes on, to the same weights.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli import options
from megastyle_cli.errors import DONE, TRY_AGAIN, MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.record import Run
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.training.checkpoint import Journal
    from megastyle_cli.training.data import Sorted
    from megastyle_cli.training.encoder import Ended, Stop
    from megastyle_cli.training.sampler import GroupSampler
    from megastyle_cli.training.trainer import Settings

MOST_HELD_OUT = 4096  # pictures that validation embeds and ranks

Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for checkpoints, metrics and the encoder.",
        show_default=False,
    ),
]


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    output: Output = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            show_default=False,
            help="Start from a folder, hub NAME[@REV], weights file, or config .json (from seed).",
        ),
    ] = None,
    label: options.Label = "style_id",
    holdout: Annotated[
        float, typer.Option(min=0, max=0.9, metavar="SHARE", help="Of styles, for validation.")
    ] = 0.1,
    split_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            show_default=False,
            help='Styles whose records say "heldout" here are held out, no others.',
        ),
    ] = None,
    global_batch: Annotated[
        int, typer.Option(min=2, metavar="N", help="Pictures a step, over all devices (paper).")
    ] = 8192,
    images_per_style: Annotated[
        int, typer.Option(min=2, metavar="K", help="Of them from one style; N/K styles.")
    ] = 4,
    chunk: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pictures embedded at once on a device.")
    ] = 64,
    temperature: Annotated[
        float, typer.Option(min=0.001, metavar="T", help="Of the contrast between styles.")
    ] = 0.1,
    text_weight: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="W",
            help="Of the image-text term (paper: equal). Prompts are embedded by the text tower of"
            " --init if it has one, else by builtin vectors in a fixed rotation (ours); 0: off.",
        ),
    ] = 1.0,
    epochs: Annotated[
        float, typer.Option(min=0, metavar="N", help="Over the pictures (paper).")
    ] = 30,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default=False, help="Instead of epochs.")
    ] = None,
    lr: Annotated[
        float, typer.Option("--lr", min=0, metavar="X", help="Highest learning rate (paper).")
    ] = (5e-4),
    warmup: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="Of the steps; then a cosine.")
    ] = 0.05,
    weight_decay: Annotated[
        float, typer.Option(min=0, metavar="W", help="AdamW's, on matrices only.")
    ] = 0.01,
    clip: Annotated[
        float, typer.Option(min=0, metavar="L", help="Longest gradient; 0: any.")
    ] = 1.0,
    ema: Annotated[
        float,
        typer.Option(min=0, max=0.99999, metavar="D", help="Decay of averaged weights; 0: off."),
    ] = 0.0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror half of them.")] = True,
    crop: Annotated[
        float, typer.Option(min=0.05, max=1, metavar="AREA", help="Smallest crop; 1: no crops.")
    ] = 0.5,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Of the tower; auto: bfloat16 on a GPU. The loss is float32."),
    ] = "auto",
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Keep no activations (gradient checkpointing).")
    ] = False,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the tower's layers.")] = False,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, metavar="STEPS", help="Save so often.")
    ] = 500,
    validate_every: Annotated[
        int, typer.Option(min=1, metavar="STEPS", help="Retrieve held-out styles so often.")
    ] = 500,
    export_dtype: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option(help="Of encoder.pth.")
    ] = "float16",
    max_errors: options.MaxErrors = "1%",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run
    from megastyle_cli.stream import progress
    from megastyle_cli.stream.run import tolerance
    from megastyle_cli.stream.source import read_records
    from megastyle_cli.training.data import Augmentation, sort_records
    from megastyle_cli.training.sampler import GroupSampler
    from megastyle_cli.training.trainer import Settings

    names = options.inputs_or_stdin(inputs, context)
    if output is None or output == "-":
        raise MegastyleError("train-encoder writes a folder", hint="give -o DIR")
    if init is None:
        raise MegastyleError(
            "train-encoder needs a model to start from",
            hint="--init google/siglip-so400m-patch14-384 is the paper's; a config .json is new",
        )
    if "-" in names and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError("several processes cannot share standard input", hint="name a file")
    if global_batch % images_per_style:
        raise MegastyleError(
            f"--global-batch {global_batch} is not a multiple of --images-per-style"
            f" {images_per_style}",
            hint=f"give {global_batch // images_per_style * images_per_style or images_per_style}",
        )
    may_fail = tolerance(max_errors)
    tally = progress.Tally("train-encoder")
    found = sort_records(
        read_records(names, limit=limit),
        label=label,
        holdout=holdout,
        split_key=split_key,
        seed=seed,
    )
    sampler = GroupSampler(
        found.training.styles,
        groups_per_batch=global_batch // images_per_style,
        k=images_per_style,
        seed=seed,
    )
    _refuse_too_few(found, sampler, global_batch, label)
    settings = Settings(
        init=init,
        steps=steps or max(1, round(epochs * sampler.steps_per_epoch)),
        groups=sampler.groups_per_batch,
        k=images_per_style,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        temperature=temperature,
        text_weight=text_weight,
        augmentation=Augmentation(flip=flip, crop_area=crop),
        ema=ema,
        seed=seed,
        chunk=chunk,
        dtype=dtype,
        recompute=recompute,
        compile=compile,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        export_dtype=export_dtype,
    )
    run = Run("train-encoder", _told(settings, found), __version__)
    say = (lambda sentence: None) if quiet else progress.say
    say(_data_line(found, sampler))
    if dry_run:
        say(f"would train {settings.steps:,} steps of {global_batch:,} pictures from {init}")
        say(f"would write to: {output}")
        return DONE
    ended = _train(
        settings,
        found,
        sampler,
        run,
        Path(output),
        (resume, overwrite, force),
        lambda failed: may_fail(failed, found.num_read),
        tally,
        quiet=quiet,
    )
    return _conclude(ended, settings, found, run, tally, stats, say, output)


def _train(
    settings: "Settings",
    found: "Sorted",
    sampler: "GroupSampler",
    run: "Run",
    folder: Path,
    existing: tuple[bool, bool, bool],
    may_fail: Callable[[int], bool],
    tally: "Tally",
    *,
    quiet: bool,
) -> "Ended":
    """Trains in `folder`, and counts what failed in `tally`."""
    from megastyle_cli.stream.run import stop_signals
    from megastyle_cli.training.checkpoint import Journal, occupied, refuse_run, start_run
    from megastyle_cli.training.encoder import refuse_too_many, start_accelerator

    resume, overwrite, force = existing
    accelerator = start_accelerator()
    world, is_first = accelerator.num_processes, accelerator.is_main_process
    if settings.groups * settings.k % world:
        raise MegastyleError(
            f"a batch of {settings.groups * settings.k:,} cannot be shared by {world} processes",
            hint="give a --global-batch that they divide",
        )
    refuse_run(folder, run, resume=resume, overwrite=overwrite, force=force)
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    with stop_signals() as stop, occupied(folder) if is_first else nullcontext():
        if is_first:
            start_run(folder, run, overwrite=overwrite)
        accelerator.wait_for_everyone()
        journal = Journal(folder, is_writing=is_first)
        for failure in found.failures:
            journal.fail(failure)
        refuse_too_many(journal, may_fail)
        try:
            return _follow(
                settings, found, sampler, journal, accelerator, stop, may_fail, quiet=quiet
            )
        finally:
            tally.failed.update(journal.told.values())


def _follow(
    settings: "Settings",
    found: "Sorted",
    sampler: "GroupSampler",
    journal: "Journal",
    accelerator: Any,
    stop: "Stop",
    may_fail: Callable[[int], bool],
    *,
    quiet: bool,
) -> "Ended":
    """The training itself, with its plan before it and its progress beside it."""
    from megastyle_cli.steps.score import retrieval_scores
    from megastyle_cli.stream.progress import Progress, Tally, say
    from megastyle_cli.training.encoder import plan, train
    from megastyle_cli.training.trainer import Trainer

    trainer = Trainer(settings, found.training, accelerator, journal.folder)
    trainer.restore()
    journal.cut(trainer.at)
    if not quiet:
        for line in plan(trainer, sampler):
            say(line)
    steps = Tally("train-encoder", done_before=trainer.at)
    is_silent = quiet or not accelerator.is_main_process
    progress = Progress(steps, quiet=is_silent, to_stdout=False, total=settings.steps - trainer.at)

    def moved(step: int) -> None:
        steps.read = steps.written = step - steps.done_before
        steps.failed = Counter(journal.told.values())
        progress.show()

    try:
        return train(
            trainer,
            sampler,
            found.held_out.first_styles(MOST_HELD_OUT),
            journal,
            score=partial(retrieval_scores, exclude_same_content=False),
            stop=stop,
            may_fail=may_fail,
            moved=moved,
        )
    finally:
        progress.close()


def _conclude(
    ended: "Ended",
    settings: "Settings",
    found: "Sorted",
    run: "Run",
    tally: "Tally",
    stats: Path | None,
    say: Callable[[str], None],
    output: str,
) -> int:
    from megastyle_cli.record import note
    from megastyle_cli.stream.jsonl import dump_line
    from megastyle_cli.stream.progress import duration

    if int(os.environ.get("RANK", 0)) > 0:
        return DONE if ended.step == settings.steps else TRY_AGAIN
    tally.read = found.num_read
    tally.written = len(found.training)
    if stats is not None:
        tally.measured = {"step": ended.step, **ended.losses, "held_out": ended.held_out}
        tally.write_stats(stats)
    loss = f" \u00b7 loss {ended.losses['loss']:.4f}" if ended.losses else ""
    where = f" \u2192 {Path(output) / 'errors.jsonl'}" if tally.num_failed else ""
    say(
        f"train-encoder: step {ended.step:,} of {settings.steps:,}{loss}"
        f" \u00b7 {tally.num_failed:,} unusable{where} \u00b7 {duration(tally.seconds)}"
    )
    if ended.encoder is None:
        say("train-encoder: stopped by a signal; the same command with --resume goes on")
        return TRY_AGAIN
    told: dict[str, Any] = {"step": ended.step, **ended.losses}
    if ended.held_out:
        told["held_out"] = ended.held_out
    told["checkpoint"] = str(ended.encoder)
    sys.stdout.buffer.write(dump_line(note(told, "train-encoder", run=run.key)))
    return DONE


def _told(settings: "Settings", found: "Sorted") -> dict[str, Any]:
    """The options that can change the weights, and which pictures they come from."""
    from dataclasses import asdict

    layout = (
        *("chunk", "recompute", "compile", "checkpoint_every", "validate_every"),
        "export_dtype",
    )
    told = {key: value for key, value in asdict(settings).items() if key not in layout}
    return {**told, "pictures": found.training.key}


def _refuse_too_few(
    found: "Sorted", sampler: "GroupSampler", global_batch: int, label: str
) -> None:
    styles = len(found.training.style_ids)
    if styles < 2:
        raise MegastyleError(
            f"there are {styles} styles with two pictures or more to train on, and it takes two",
            hint=f"give more pictures, or --label KEY if {label} is not the key of the style",
        )
    if sampler.steps_per_epoch == 0:
        most = sampler.num_groups * sampler.k
        raise MegastyleError(
            f"--global-batch {global_batch:,} is more than an epoch of {most:,} pictures",
            hint=f"give at most {most}",
        )


def _data_line(found: "Sorted", sampler: "GroupSampler") -> str:
    return (
        f"train-encoder: {len(found.training):,} pictures of {len(found.training.style_ids):,}"
        f" styles to train on, {len(found.held_out):,} of {len(found.held_out.style_ids):,} held"
        f" out, {found.num_single:,} left out as alone in their style,"
        f" {len(found.failures):,} unusable; {sampler.steps_per_epoch:,} steps an epoch"
    )
