"""What commands ask of the command line: the inputs, which flags are set, sizes."""

import sys
from collections.abc import Collection
from typing import Any

import typer

from megastyle_cli.core.errors import MegastyleError

MIN_PX, MAX_PX = 32, 4096


def inputs_or_stdin(inputs: list[str] | None, context: typer.Context) -> list[str]:
    """The inputs named, else standard input; if that is a terminal, an example and exit 2."""
    if inputs:
        return inputs
    if sys.stdin is None or sys.stdin.isatty():
        command: Any = context.command
        raise MegastyleError(
            f"{command.name} needs an input: name one, or pipe records in",
            hint=f"{command.description.examples[0].strip()}\n"
            f"More examples and options:  megastyle {command.name} -h",
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


def parse_size(text: str | None) -> tuple[int | None, tuple[int, int] | None]:
    """The longer side, or the width and height, in pixels; both None if `text` is None.

    Raises MegastyleError if it is neither, or out of range.
    """
    if text is None:
        return None, None
    sides = [int(side) if side.isdecimal() else 0 for side in text.lower().split("x")]
    if len(sides) > 2 or not all(MIN_PX <= side <= MAX_PX for side in sides):
        raise MegastyleError(
            f"--size is {text!r}, not PX or WIDTHxHEIGHT from {MIN_PX} to {MAX_PX}",
            hint="give 512 or 768x512",
        )
    return (sides[0], None) if len(sides) == 1 else (None, (sides[0], sides[1]))
