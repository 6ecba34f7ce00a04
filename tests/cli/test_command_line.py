"""Groups of options look to typer like options declared one by one; sizes are read or refused."""

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
import typer
from typer.testing import CliRunner

from megastyle_cli.cli.command_line import MAX_PX, MIN_PX, grouped, parse_size
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """An argument."""

    inputs: list[str] | None = option(None, is_argument=True, metavar="[INPUTS]...", help="Files.")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Options of every kind."""

    size: int = option(4, "--size", min=1, max=9, metavar="PX", help="Side.")
    mode: Literal["soft", "hard"] = option("soft", help="How.")
    mirror: bool = option(True, help="Flip it.")
    quiet: bool = option(False, "-q", "--quiet", help="Less.")
    verbose: int = option(0, "-v", is_counter=True, show_default=False, metavar="", help="More.")


def by_hand(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUTS]...", help="Files.")
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, max=9, metavar="PX", help="Side.")] = 4,
    mode: Annotated[Literal["soft", "hard"], typer.Option(help="How.")] = "soft",
    mirror: Annotated[bool, typer.Option(help="Flip it.")] = True,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Less.")] = False,
    verbose: Annotated[
        int, typer.Option("-v", count=True, show_default=False, metavar="", help="More.")
    ] = 0,
) -> None:
    """Draws."""


@grouped
def in_groups(context: typer.Context, inputs: Inputs, draw: Draw) -> None:
    """Draws."""
    typer.echo(f"{context.info_name} {inputs} {draw}")


def ended(main: object, *arguments: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command("draw")(main)  # type: ignore[arg-type]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.output


def test_help_is_the_same_as_when_declared_one_by_one() -> None:
    assert ended(in_groups, "--help") == ended(by_hand, "--help")


def test_a_group_holds_what_the_command_line_says() -> None:
    code, output = ended(in_groups, "a", "b", "--size", "7", "--no-mirror", "-vv", "--mode", "hard")

    draw = Draw(size=7, mode="hard", mirror=False, verbose=2)
    assert (code, output) == (0, f"draw {Inputs(inputs=['a', 'b'])} {draw}\n")


def test_values_out_of_range_are_refused() -> None:
    for arguments in (("--size", "10"), ("--mode", "odd"), ("--nothing",)):
        assert ended(in_groups, *arguments)[0] == 2


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, (None, None)),
        ("512", (512, None)),
        ("768x512", (None, (768, 512))),
        ("768X512", (None, (768, 512))),
        (str(MIN_PX), (MIN_PX, None)),
        (str(MAX_PX), (MAX_PX, None)),
    ],
)
def test_a_size_is_a_longer_side_or_width_and_height(text: str | None, size: object) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "31", "4097", "512x", "1x2x3", "-64", "64.0", "big"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MegastyleError, match="WIDTHxHEIGHT"):
        parse_size(text)
