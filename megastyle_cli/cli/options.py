"""Every shared flag once: one name, one meaning, on every command that has it."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import typer

from megastyle_cli.core.choices import Container, PictureFormat
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.formats import INPUTS_HELP

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help=INPUTS_HELP,
        show_default=False,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="File, directory or - for stdout.",
    ),
]
FolderOutput = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for pictures and metadata.jsonl.",
        show_default=False,
    ),
]
Format = Annotated[
    Container,
    typer.Option(
        "--format", help="Keep pictures as files in a folder, or in WebDataset tars, or parquet."
    ),
]
PicturesAs = Annotated[PictureFormat, typer.Option("--picture-format", help="Format of a picture.")]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality",
        metavar="N",
        min=1,
        max=100,
        show_default=False,
        help="Of jpg and webp pictures; default 92.",
    ),
]
ShardSize = Annotated[
    int,
    typer.Option("--shard-size", metavar="N", min=1, help="Records a tar or parquet file holds."),
]
Errors = Annotated[
    str | None,
    typer.Option(
        "--errors",
        metavar="FILE",
        show_default=False,
        help="Where failed records go; default: beside the output.",
    ),
]
MaxErrors = Annotated[
    str, typer.Option("--max-errors", metavar="N|N%", help="Failures tolerated before exit code 3.")
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with an unfinished output, or extend a finished one."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Force = Annotated[bool, typer.Option("--force", help="Resume although the options have changed.")]
Label = Annotated[
    str, typer.Option(metavar="KEY", help="Pictures of one style share this key's value.")
]
ContentLabel = Annotated[
    str,
    typer.Option(
        metavar="KEY", help="As --label, for contents; retrieval is among other contents."
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        show_default=False,
        help="This process's share of the records, 0 <= I < N; or auto (Slurm array).",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=0, show_default=False, help="Only the first N input records."
    ),
]
Paths = Annotated[bool, typer.Option("--paths", help="stdin holds one file name a line.")]
NulPaths = Annotated[
    bool, typer.Option("-0", "--null", help="stdin holds file names separated by NUL.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="For everything drawn.")]
Backend = Annotated[
    str,
    typer.Option(
        "--backend", metavar="NAME", help="Which implementation, or package.module:Class."
    ),
]
Strength = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="S",
        help="1: full style; 0: the content picture, or the words without a reference.",
    ),
]
EncoderBackend = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="builtin, statistics, edges, imagenet; with --model siglip, clip; or"
        " package.module:Class.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="By name or folder: sentence-transformers for texts, SigLIP's tower for pictures,"
        " Qwen-Image or FLUX to paint, Qwen3-VL and its like to caption.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        show_default=False,
        help="Where the model runs: cpu, cuda, cuda:N; default: a GPU if there is one.",
    ),
]
Dtype = Annotated[
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        "--dtype",
        metavar="float32|bfloat16",
        show_default=False,
        help="Numbers the model runs in; default: bfloat16 on a GPU, float32 on a CPU.",
    ),
]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Where the work runs: on this machine's cores, or on those of a Ray cluster"
        " (RAY_ADDRESS).",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        show_default=False,
        help="Cores to work on, default: all; changes speed, never results.",
    ),
]
BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        help="Records worked on at once; changes speed, never results.",
    ),
]
Holdout = Annotated[
    float, typer.Option(min=0, max=0.9, metavar="SHARE", help="Of styles, for validation.")
]
SplitKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        show_default=False,
        help='Styles whose records say "heldout" here are held out, no others.',
    ),
]
Warmup = Annotated[
    float, typer.Option(min=0, max=1, metavar="SHARE", help="Of the steps, then --schedule.")
]
WeightDecay = Annotated[float, typer.Option(min=0, metavar="W", help="On matrices only.")]
Clip = Annotated[float, typer.Option(min=0, metavar="L", help="Longest gradient; 0: any.")]
Ema = Annotated[
    float, typer.Option(min=0, max=0.99999, metavar="D", help="Decay of averaged weights; 0: off.")
]
Recompute = Annotated[
    str,
    typer.Option(
        metavar="auto|none|all|N",
        help="Layers computed twice, to keep less (checkpointing): by memory, none, all, or"
        " every Nth.",
    ),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the model's layers first: pays off for many.")
]
LoraStrength = Annotated[
    float, typer.Option("--lora-strength", metavar="S", help="How much of the LoRA is added.")
]
Quantize = Annotated[
    Literal["int8", "fp8", "nf4"] | None,
    typer.Option(
        "--quantize",
        metavar="int8|fp8|nf4",
        show_default=False,
        help="Round the weights, for smaller cards (torchao; nf4: bitsandbytes).",
    ),
]
CheckpointEvery = Annotated[int, typer.Option(min=1, metavar="STEPS", help="Save so often.")]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        show_default=False,
        help="Keep text embeddings here; dedup and cluster share them.",
    ),
]
Stats = Annotated[
    Path | None,
    typer.Option(
        "--stats",
        metavar="FILE",
        show_default=False,
        help="Write counts, seconds and error kinds as JSON.",
    ),
]
Sheet = Annotated[
    Path | None,
    typer.Option(
        "--sheet", metavar="FILE.png", show_default=False, help="Draw a labelled contact sheet."
    ),
]
Page = Annotated[
    Path | None,
    typer.Option(
        "--page",
        metavar="FILE.html",
        show_default=False,
        help="Write a one-file page to look through, offline.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("-n", "--dry-run", help="Say what would be done; load no model, write nothing."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        metavar="",
        help="More words; twice for debugging.",
    ),
]


def inputs_or_stdin(inputs: list[str] | None, context: typer.Context) -> list[str]:
    """The inputs named, else standard input; if that is a terminal, short help and exit 2."""
    import sys

    if inputs:
        return inputs
    if sys.stdin is None or sys.stdin.isatty():
        sys.stderr.write(f"{context.get_usage()}\n")
        raise MegastyleError(
            f"{context.info_name} needs an input: name one, or pipe records in",
            hint=f"megastyle {context.info_name} --help shows examples",
        )
    return ["-"]


def given_flag(context: typer.Context, names: Collection[str]) -> str | None:
    """The flag of the first of these parameters that the command line sets; None if none is."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in names and source is not None and source.name == "COMMANDLINE":
            return parameter.opts[-1]
    return None


def separator(paths: bool, null: bool) -> str | None:
    """What separates file names on standard input; None if it holds JSON lines."""
    return "\0" if null else "\n" if paths else None


LEAST_PX, MOST_PX = 32, 4096


def parse_size(text: str | None) -> tuple[int | None, tuple[int, int] | None]:
    """The longer side, or the width and height, in pixels; both None if `text` is None.

    Raises MegastyleError if it is neither, or out of range.
    """
    if text is None:
        return None, None
    sides = [int(side) if side.isdecimal() else 0 for side in text.lower().split("x")]
    if len(sides) > 2 or not all(LEAST_PX <= side <= MOST_PX for side in sides):
        raise MegastyleError(
            f"--size is {text!r}, not PX or WIDTHxHEIGHT from {LEAST_PX} to {MOST_PX}",
            hint="give 512 or 768x512",
        )
    return (sides[0], None) if len(sides) == 1 else (None, (sides[0], sides[1]))
