"""Options are derived from fields; words become values, or errors that say what is accepted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from megastyle_cli.cli.parameters import (
    MAX_PX,
    MIN_PX,
    Parameter,
    option_groups,
    parameters_of,
    parse_size,
)
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Options of every kind."""

    HEADING = "Style and content"

    inputs: list[str] | None = option(None, is_argument=True, metavar="INPUT...", help="Files.")
    size: int | None = option(4, "--size", min=1, max=9, metavar="PX", help="Side.")
    share: float = option(0.5, min=0, heading="Model", help="How much.")
    mode: Literal["soft", "hard"] = option("soft", help="How.", help_in={"synth": "How it looks."})
    mirror: bool = option(True, help="Flip it.")
    quiet: bool = option(False, "-q", "--quiet", help="Less.")
    verbose: int = option(0, "-v", "--verbose", is_counter=True, help="More.")
    page: Path | None = option(None, metavar="FILE", file="output", help="A page.")


def found(command: str = "caption") -> dict[str, Parameter]:
    return {parameter.field: parameter for parameter in parameters_of(Draw, command)}


def test_flags_values_and_choices_follow_from_the_field() -> None:
    made = found()

    assert made["inputs"].names == () and made["inputs"].repeats
    assert made["mirror"].spellings == ("--mirror", "--no-mirror")
    assert [made[name].value for name in ("size", "share", "mode", "quiet", "verbose")] == [
        *("PX", "VALUE", "soft|hard", "", "")
    ]
    assert made["mode"].choices == ("soft", "hard")
    assert [name for name, parameter in made.items() if parameter.is_file] == ["page"]


def test_a_heading_is_the_options_own_or_its_groups_and_help_may_be_a_commands_own() -> None:
    made = found()

    assert (made["size"].heading, made["share"].heading) == ("Style and content", "Model")
    assert (made["mode"].help, found("synth")["mode"].help) == ("How.", "How it looks.")


def test_groups_are_the_parameters_that_are_dataclasses() -> None:
    def main(context: object, draw: Draw) -> None:
        pass

    assert option_groups(main) == {"draw": Draw}


@pytest.mark.parametrize(
    ("name", "word", "value"),
    [("size", "7", 7), ("share", "2", 2.0), ("mode", "hard", "hard"), ("page", "a", Path("a"))],
)
def test_a_word_becomes_a_value(name: str, word: str, value: object) -> None:
    assert found()[name].convert(word) == value


@pytest.mark.parametrize(
    ("name", "word", "sentence"),
    [
        ("size", "10", "--size must be a whole number from 1 to 9, not '10'"),
        ("size", "2.5", "--size must be a whole number from 1 to 9, not '2.5'"),
        ("share", "-1", "--share must be a number of at least 0, not '-1'"),
        ("share", "nan", "--share must be a number of at least 0, not 'nan'"),
        ("share", "some", "--share must be a number of at least 0, not 'some'"),
        ("mode", "odd", "--mode must be soft or hard, not 'odd'"),
    ],
)
def test_another_word_is_refused_with_what_is_accepted(name: str, word: str, sentence: str) -> None:
    with pytest.raises(MegastyleError) as refused:
        found()[name].convert(word)

    assert refused.value.message == sentence


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


def test_an_option_may_be_common_in_some_commands_only():
    @dataclass(frozen=True, kw_only=True)
    class Server:
        url: str = option("", is_common=True, less_common_in=("eval",), help="Address.")

    def is_common(command: str) -> bool:
        (parameter,) = parameters_of(Server, command)
        return parameter.option.is_common

    assert is_common("caption") and not is_common("eval")
