"""Train FLUX to paint a prompt in the style of a reference picture.

Examples:

  megastyle train-flux synth/ --model black-forest-labs/FLUX.1-dev -o runs/flux
  megastyle train-flux pairs.jsonl --model FLUX.1-dev/ --lora megastyle_flux.safetensors -o runs/own
  megastyle train-flux synth/ --model FLUX.1-dev/ --quantize int8 --optimizer adamw8bit -o runs/24gb
  megastyle train-flux icons/ --model parts/ --init size.json --size 64 --lr 1e-3 -o runs/tiny
  accelerate launch -m megastyle_cli train-flux synth/ --model FLUX.1-dev/ -o runs/flux --resume

Reads style_id (or --label), content and file_name, and draws pairs of one style, one of every style
in turn: the words are the target's content alone, the style comes from the reference. Or records
bring style_file_name, target_file_name and content. The reference's clean tokens stand to the right
of the noisy target's; the loss is the target's velocity. The last step leaves lora/, in the
official form and in that of diffusers, or flux/, a whole model (--full, --init), for transfer. A
record with words that a model with a table of words, as builtin-flux, lacks counts as unusable.

Free memory decides how many pairs are worked on at once, which blocks are computed twice, and
whether T5 and CLIP stay; the plan is said first. None of it changes the weights but by rounding.

The paper states rank 128, the 304 modules, 512 px, 30000 steps, and its code states learning rate
1e-4, weight decay 0.01, guidance 1, noise levels, loss weight and the reference's augmentation. The
batch of 8 is the official launch's on 8 GPUs. Seeds, a flat rate (official: --schedule official)
and all else are ours. LoRAs trained with the official script before 22 July 2026 are blind to
their reference: that script dropped it. SIGTERM saves and exits 75; --resume goes on, to the same
weights.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.core.errors import MegastyleError


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Directory for checkpoints, metrics, samples and the finished weights.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="FLUX by folder or hub NAME[@REV], as transfer takes it.",
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG.json",
            show_default=False,
            help="Draw a transformer of that size from the seed instead, and train all of it.",
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Train all of --model's transformer, no LoRA.")
    ] = False,
    lora: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Start from a LoRA: official, DiffSynth's or diffusers' keys.",
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="R", show_default=False, help="Of the LoRA; default: --lora's, or 128."
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="A",
            show_default=False,
            help="The LoRA counts A/R; default: its rank, which all its readers understand.",
        ),
    ] = None,
    targets: Annotated[
        str,
        typer.Option(
            metavar="all|KINDS",
            help="Modules by official stem, such as img_attn_qkv,txt_attn_qkv,linear1.",
        ),
    ] = "all",
    quantize: options.Quantize = None,
    label: options.Label = "style_id",
    holdout: options.Holdout = 0.01,
    split_key: options.SplitKey = None,
    size: Annotated[
        int, typer.Option(min=8, metavar="PX", help="Side of both squares, a multiple of 16.")
    ] = 512,
    global_batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pairs a step, over all devices.")
    ] = 8,
    chunk: Annotated[
        str, typer.Option(metavar="auto|N", help="Pairs on a device at once; by memory.")
    ] = "auto",
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Updates (paper).")] = 30_000,
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"],
        typer.Option(help="8bit: moments in a quarter of the memory, by bitsandbytes."),
    ] = "adamw",
    lr: Annotated[float, typer.Option("--lr", min=0, metavar="X", help="Highest rate.")] = 1e-4,
    warmup: options.Warmup = 0.0,
    schedule: Annotated[
        Literal["constant", "cosine", "linear", "official"],
        typer.Option(help="Of the rate; official: a third for five steps, then the whole."),
    ] = "constant",
    weight_decay: options.WeightDecay = 0.01,
    clip: options.Clip = 0.0,
    ema: options.Ema = 0.0,
    timesteps: Annotated[
        Literal["megastyle", "logit-normal", "sigmoid", "flux-shift", "uniform"],
        typer.Option(help="Noise levels: even over 1000 of shift 3; others as other trainers."),
    ] = "megastyle",
    loss_weight: Annotated[
        Literal["bell", "none"], typer.Option(help="Of noise levels: the official bell, or none.")
    ] = "bell",
    guidance: Annotated[
        float, typer.Option(min=0, metavar="G", help="What FLUX is told while it learns.")
    ] = 1.0,
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Mirror and cut half the references.")
    ] = True,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="Of frozen weights and products; auto: bfloat16 on a GPU."),
    ] = "auto",
    recompute: options.Recompute = "auto",
    encode_text: Annotated[
        Literal["auto", "beside", "first"],
        typer.Option(
            help="By T5 and CLIP: beside the steps, or all first, which makes room; by memory."
        ),
    ] = "auto",
    compile: options.Compile = False,
    checkpoint_every: options.CheckpointEvery = 500,
    validate_every: Annotated[
        int, typer.Option(min=1, metavar="STEPS", help="Losses on held-out styles so often.")
    ] = 500,
    sample_every: Annotated[
        int, typer.Option(min=1, metavar="STEPS", help="Paint samples so often.")
    ] = 1000,
    samples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Pictures painted each time; 0: none.")
    ] = 8,
    export_dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option(help="Of the finished weights.")
    ] = "bfloat16",
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
    from megastyle_cli.report.contact_sheet import write_sheet
    from megastyle_cli.runner.job import Tolerance
    from megastyle_cli.training.common.run import Existing
    from megastyle_cli.training.encoder.config import count_or_auto, every_nth
    from megastyle_cli.training.flux import job
    from megastyle_cli.training.flux.config import Layout, Settings
    from megastyle_cli.training.flux.pairs import PairSampler

    names = options.inputs_or_stdin(inputs, context)
    allows = Tolerance.parse(max_errors).allows
    if output is None or output == "-":
        raise MegastyleError("train-flux writes a folder", hint="give -o DIR")
    if model is None:
        raise MegastyleError(
            "train-flux needs a FLUX model",
            hint="--model black-forest-labs/FLUX.1-dev is the paper's; or a folder",
        )
    layout = Layout(
        chunk=count_or_auto(chunk),
        recompute=every_nth(recompute),
        encode_text=encode_text,
        compile=compile,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        sample_every=sample_every,
        samples=samples,
        export_dtype=export_dtype,
    )
    settings = Settings(
        model=model,
        init=init,
        lora=lora,
        full=full,
        rank=rank,
        alpha=alpha,
        targets=targets,
        quantize=quantize,
        size_px=size,
        batch=global_batch,
        steps=steps,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        weight_decay=weight_decay,
        clip=clip,
        ema=ema,
        timesteps=timesteps,
        loss_weight=loss_weight,
        guidance=guidance,
        augment=augment,
        seed=seed,
        dtype=dtype,
        layout=layout,
    )
    told = {
        "inputs": names,
        "limit": limit,
        "label": label,
        "holdout": holdout,
        "split_key": split_key,
    }
    found = job.gather_pairs(
        names,
        limit=limit,
        label=label,
        holdout=holdout,
        split_key=split_key,
        seed=seed,
        model=model,
    )
    return job.run_training(
        job.Job(
            settings=settings,
            told={**told, "max_errors": max_errors},
            found=found,
            sampler=PairSampler(found.training, batch=global_batch, seed=seed),
            folder=Path(output),
            existing=Existing(resume=resume, overwrite=overwrite, force=force),
            allows=allows,
            draw=lambda records, path, title: write_sheet(records, path, title=title),
            stats=stats,
            quiet=quiet,
        ),
        dry_run=dry_run,
    )
