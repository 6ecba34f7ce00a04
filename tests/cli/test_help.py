"""Help: one screen of what people use, or everything; the same headings; any width."""

import os
from dataclasses import dataclass

import pytest

from megastyle_cli.app import COMMANDS, TOOLS, build
from megastyle_cli.cli.help import (
    by_heading,
    described,
    full_help,
    root_help,
    short_help,
    terminal_width,
)
from megastyle_cli.cli.parameters import parameters_of
from megastyle_cli.core.option import HEADINGS, option

BUILT = build("completion").built
SCREENS = {80: 48, 100: 36}  # columns: lines


@dataclass(frozen=True, kw_only=True)
class Example:
    """Options under three headings."""

    HEADING = "Style"

    inputs: list[str] | None = option(
        None, is_argument=True, metavar="INPUT...", heading="Input", help="Pictures."
    )
    output: str | None = option(
        None,
        *("-o", "--output"),
        metavar="PATH",
        heading="Output",
        help="A file or folder.",
        is_common=True,
        is_required=True,
    )
    strength: float = option(
        1.0, min=0, max=1, metavar="S", is_common=True, help="0 keeps it, 1 changes it."
    )
    format_of_pictures: str = option(
        "png", metavar="png|jpg", help="How they are stored. Files have this suffix."
    )


DOCSTRING = """Draw.

Examples:
  megastyle draw a.png
  megastyle draw b.png \\
      --strength 0.5
  megastyle draw c.png
  megastyle draw d.png

More to
know.
"""
OPTIONS = parameters_of(Example, "draw")


def test_a_docstring_is_a_sentence_examples_and_paragraphs() -> None:
    text = described(DOCSTRING)

    assert (text.sentence, text.paragraphs) == ("Draw.", ("More to know.",))
    assert len(text.examples) == 4
    assert text.examples[1] == "  megastyle draw b.png \\\n      --strength 0.5"


def test_one_screen_has_three_examples_and_the_common_options() -> None:
    assert short_help("draw", described(DOCSTRING), OPTIONS, 80) == (
        "Draw.\n\n"
        "  megastyle draw a.png\n"
        "  megastyle draw b.png \\\n      --strength 0.5\n"
        "  megastyle draw c.png\n\n"
        "Style\n"
        "      --strength S   0 keeps it, 1 changes it [1.0].\n"
        "Output\n"
        "  -o, --output PATH  A file or folder (required).\n"
        "All 3 options: megastyle draw --help\n"
    )


def test_one_screen_has_the_first_sentence_of_each_option() -> None:
    few = [option for option in OPTIONS if not option.option.is_common]
    short = short_help("draw", described(DOCSTRING), few, 80)
    full = full_help("draw", described(DOCSTRING), OPTIONS, 80)

    assert "How they are stored [png].\n" in short
    assert "How they are stored. Files have this suffix [png].\n" in full


def test_a_command_without_common_options_shows_them_all_on_its_screen() -> None:
    few = [option for option in OPTIONS if not option.option.is_common]
    text = short_help("draw", described(DOCSTRING), few, 80)

    assert "INPUT..." in text and "--format-of-pictures" in text
    assert text.endswith("\nMore: megastyle draw --help\n")


@pytest.mark.parametrize("name", BUILT)
def test_the_help_of_one_screen_fits_it(name: str) -> None:
    command = BUILT[name]
    text = short_help(name, command.description, command.parameters, 100)
    narrow = short_help(name, command.description, command.parameters, 80)

    headings = by_heading(command.parameters)
    lines = text.splitlines()
    assert len(lines) <= SCREENS[100] and len(narrow.splitlines()) <= SCREENS[80]
    assert next(n for n, line in enumerate(lines) if line in headings) <= 8  # options are near


def test_under_a_heading_the_output_and_common_options_come_first() -> None:
    options = by_heading(BUILT["transfer"].parameters)["Output"]
    ranks = [option.option.is_common for option in options]

    assert str(options[0]) == "--output" and ranks == sorted(ranks, reverse=True)


def test_everything_has_every_option_under_the_same_headings() -> None:
    text = full_help("draw", described(DOCSTRING), OPTIONS, 80)

    assert text.startswith(
        "Draw.\n\nUsage: megastyle draw [INPUT...] --output PATH [OPTIONS]\n\n  megastyle"
    )
    assert "\n\nMore to know.\n\nInput\n  INPUT...           Pictures.\n\nStyle\n" in text
    assert "      --format-of-pictures png|jpg\n                     How they are stored" in text
    assert "0 keeps it, 1 changes it [1.0; 0 to 1]." in text
    assert text.index("\nInput\n") < text.index("\nStyle\n") < text.index("\nOutput\n")
    assert text.endswith(
        "      --help         Show every option.\n\nManual: docs/commands/draw.md\n"
    )


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", BUILT)
def test_every_text_fits_the_width(name: str, width: int) -> None:
    command = BUILT[name]
    for text in (short_help, full_help):
        written = text(name, command.description, command.parameters, width)
        assert [line for line in written.splitlines() if len(line) > width] == []


def test_a_long_example_is_cut_before_an_option() -> None:
    line = "megastyle draw a.png --strength 0.5 --format png | megastyle draw -o b.png"
    text = short_help("draw", described(f"Draw.\n\n  {line}"), OPTIONS, 44)

    assert (
        "  megastyle draw a.png --strength 0.5 \\\n      --format png | megastyle draw -o b.png\n"
    ) in text


def test_an_example_is_never_cut_inside_quotes() -> None:
    line = "megastyle draw a.png --json | jq '.a[] | select(.b | not)'"
    text = short_help("draw", described(f"Draw.\n\n  {line}"), OPTIONS, 50)

    assert " \\\n      | jq '.a[] | select(.b | not)'\n" in text


def test_the_help_of_the_program_has_its_commands_by_group() -> None:
    text = root_help("Draws.", {"Data": {"draw": "Draw pictures."}, "Tools": {"x": "Y."}}, 80)

    assert "\nData\n  draw  Draw pictures.\nTools\n  x     Y.\n\nStart with:  megastyle" in text


@pytest.mark.parametrize(("columns", "width"), [("60", 60), ("300", 100), ("7", 40), ("", 80)])
def test_the_width_is_that_of_the_terminal_as_far_as_lines_are_easy_to_read(
    columns: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(os, "get_terminal_size", raises_os_error)

    assert terminal_width() == width


def raises_os_error(_: int) -> None:
    raise OSError


@pytest.mark.parametrize("name", {**COMMANDS, **TOOLS})
def test_a_command_has_few_headings_of_its_own(name: str) -> None:
    headings = {parameter.heading for parameter in BUILT[name].parameters}

    assert len(headings - set(HEADINGS)) <= 2
