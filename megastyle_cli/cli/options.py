"""Every shared flag once: one name, one meaning, on every command that has it."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import typer

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
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=0, show_default=False, help="Only the first N input records."
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="For everything drawn.")]
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
Stats = Annotated[
    Path | None,
    typer.Option(
        "--stats",
        metavar="FILE",
        show_default=False,
        help="Write counts, seconds and error kinds as JSON.",
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
