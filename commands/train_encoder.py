"""Train the style encoder: a SigLIP image tower that puts pictures of one style together.

Examples:

  megastyle train-encoder synth/ --init google/siglip-so400m-patch14-384 -o runs/enc
  megastyle train-encoder icons/ --init small.json --text-weight 0 --global-batch 256 -o runs/small
  megastyle train-encoder synth/ --init runs/small/encoder -o runs/next --seed 1 --resume
  megastyle train-encoder synth/ --pack shards/ && megastyle train-encoder shards/ -o runs/enc ...
  accelerate launch -m megastyle_cli train-encoder shards/ --init siglip/ -o runs/enc --resume

Reads style_id (or --label), style (the prompt) and file_name. The loss is style-supervised
contrast over the whole global batch plus an image-text sigmoid term; its gradient is exact whatever
--chunk and --recompute are. The paper states batch 8192, 30 epochs, learning rate 5e-4, the two
terms and their equal weight; every other default is ours. The last step leaves encoder/, which
SiglipVisionModel.from_pretrained and retrieve and eval --model read, and in it encoder.pth, the
official layout. SIGTERM saves and exits 75; --resume goes on, to the same weights.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.core.errors import MegastyleError

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
    pack: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Write the pictures to DIR as shards that load fast, and stop.",
        ),
    ] = None,
    label: options.Label = "style_id",
    content_label: options.ContentLabel = "content_id",
    holdout: options.Holdout = 0.1,
    split_key: options.SplitKey = None,
    global_batch: Annotated[
        int, typer.Option(min=2, metavar="N", help="Pictures a step, over all devices (paper).")
    ] = 8192,
    images_per_style: Annotated[
        int, typer.Option(min=2, metavar="K", help="Of them from one style; N/K styles.")
    ] = 4,
    chunk: Annotated[
        str,
        typer.Option(metavar="auto|N", help="Pictures embedded at once on a device; by memory."),
    ] = "auto",
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
    optimizer: Annotated[
        Literal["adamw", "sgd"], typer.Option(help="sgd: with Nesterov's momentum.")
    ] = "adamw",
    lr: Annotated[
        float, typer.Option("--lr", min=0, metavar="X", help="Highest learning rate (paper).")
    ] = (5e-4),
    warmup: options.Warmup = 0.05,
    schedule: Annotated[
        Literal["cosine", "linear", "constant"],
        typer.Option(help="Of the rate after the warm-up: down to zero, or as it is."),
    ] = "cosine",
    weight_decay: options.WeightDecay = 0.01,
    clip: options.Clip = 1.0,
    ema: options.Ema = 0.0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror half of them.")] = True,
    crop: Annotated[
        float, typer.Option(min=0.05, max=1, metavar="AREA", help="Smallest crop; 1: no crops.")
    ] = 0.5,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Of the tower; auto: bfloat16 on a GPU. The loss is float32."),
    ] = "auto",
    recompute: options.Recompute = "auto",
    compile: options.Compile = False,
    checkpoint_every: options.CheckpointEvery = 500,
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
    from megastyle_cli.evaluate.metrics import retrieval_scores
    from megastyle_cli.runner.job import Tolerance
    from megastyle_cli.training.common.run import Existing
    from megastyle_cli.training.encoder import job
    from megastyle_cli.training.encoder.config import Layout, Settings, count_or_auto, every_nth
    from megastyle_cli.training.encoder.data import Augmentation

    names = options.inputs_or_stdin(inputs, context)
    allows = Tolerance.parse(max_errors).allows
    if pack is not None:
        from megastyle_cli.training.encoder.pack import pack_pictures

        return pack_pictures(
            names,
            pack,
            limit=limit,
            label=label,
            resume=resume,
            overwrite=overwrite,
            may_fail=allows,
            quiet=quiet,
        )
    if output is None or output == "-":
        raise MegastyleError("train-encoder writes a folder", hint="give -o DIR")
    if init is None:
        raise MegastyleError(
            "train-encoder needs a model to start from",
            hint="--init google/siglip-so400m-patch14-384 is the paper's; a config .json is new",
        )
    layout = Layout(
        chunk=count_or_auto(chunk),
        recompute=every_nth(recompute),
        compile=compile,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        export_dtype=export_dtype,
    )
    material = job.gather_material(
        names,
        limit=limit,
        label=label,
        content_label=content_label,
        holdout=holdout,
        split_key=split_key,
        global_batch=global_batch,
        k=images_per_style,
        seed=seed,
    )
    settings = Settings(
        init=init,
        steps=steps or max(1, round(epochs * material.sampler.steps_per_epoch)),
        groups=material.sampler.groups_per_batch,
        k=images_per_style,
        optimizer=optimizer,
        schedule=schedule,
        lr=lr,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        temperature=temperature,
        text_weight=text_weight,
        augmentation=Augmentation(flip=flip, crop_area=crop),
        ema=ema,
        seed=seed,
        dtype=dtype,
        layout=layout,
    )

    def score(vectors: Any, labels: Any, contents: Any) -> dict[str, Any]:
        known = contents is not None
        told = retrieval_scores(vectors, labels, contents, exclude_same_content=known)
        return {"other_contents_only": known, **told}

    return job.run_training(
        job.Job(
            settings=settings,
            material=material,
            folder=Path(output),
            existing=Existing(resume=resume, overwrite=overwrite, force=force),
            allows=allows,
            score=score,
            stats=stats,
            quiet=quiet,
        ),
        dry_run=dry_run,
    )
