"""A command has the options of its groups; a line without a meaning says what to do instead."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from megastyle_cli.cli.command import Command, CommandGroup
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class InputFiles:
    """An argument."""

    inputs: list[str] | None = option(None, is_argument=True, metavar="INPUT...", help="Files.")


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Options of every kind."""

    size: int = option(4, "-s", "--size", min=1, max=9, metavar="PX", help="Side.")
    weight: list[float] | None = option(None, metavar="W", help="Shares.")
    mode: Literal["soft", "hard"] = option("soft", help="How.")
    mirror: bool = option(True, help="Flip it.")
    quiet: bool = option(False, "-q", "--quiet", help="Less.")
    verbose: int = option(0, "-v", is_counter=True, show_default=False, metavar="", help="More.")


@dataclass(frozen=True, kw_only=True)
class ShellName:
    """A required argument."""

    shell: Literal["bash", "zsh"] = option(is_argument=True, metavar="SHELL", help="bash or zsh.")


def run(call: Callable[[], int | None], values: Mapping[str, Any]) -> int:
    return call() or 0


def ended(*words: str) -> tuple[Any, list[Any]]:
    """The exit code of a line, and the groups that `main` was called with."""
    made: list[Any] = []

    def draw(context: Any, files: InputFiles, options: DrawOptions) -> int:
        made.extend([files, options])
        return 3

    def shell(context: Any, named: ShellName) -> int:
        made.append(named)
        return 0

    commands = [
        Command("draw", "Draw.\n\n  megastyle draw a", draw, run),
        Command("shell", "Print.\n\n  megastyle shell bash", shell, run),
    ]
    groups = {"Data": {"draw": "Draw.", "shell": "Print."}}
    code = CommandGroup("Draws.", "1.2", groups, commands).run(words)
    return code, made


def refused(*words: str) -> tuple[str, str]:
    with pytest.raises(MegastyleError) as error:
        ended(*words)
    assert error.value.exit_code == 2
    return error.value.message, error.value.hint


def test_what_is_not_given_has_its_default() -> None:
    assert ended("draw") == (3, [InputFiles(), DrawOptions()])
    assert ended("draw", "a", "--weight", "1", "--weight=2", "b", "-qvv", "-s7", "--no-mirror") == (
        3,
        [
            InputFiles(inputs=["a", "b"]),
            DrawOptions(size=7, weight=[1.0, 2.0], mirror=False, quiet=True, verbose=2),
        ],
    )
    assert ended("draw", "--", "--mode", "-q")[1][0] == InputFiles(inputs=["--mode", "-q"])
    assert ended("draw", "s", "q")[1][0] == InputFiles(inputs=["s", "q"])  # no -s, no -q
    assert ended("shell", "zsh") == (0, [ShellName(shell="zsh")])


@pytest.mark.parametrize(
    ("line", "sentence", "hint"),
    [
        ("draw --mode odd", "--mode must be soft or hard, not 'odd'", ""),
        ("draw --weight 1 --weight x", "--weight must be a number, not 'x'", ""),
        ("draw --size", "--size needs a value", "--size PX  Side."),
        ("draw --quiet=yes", "--quiet takes no value", "give --quiet alone"),
        ("draw --sise 3", "draw has no option --sise", "Did you mean --size?"),
        ("draw --nothing", "draw has no option --nothing", "Options:  megastyle draw -h"),
        ("draw -mode hard", "draw has no option -mode", "Did you mean --mode?"),
        ("draw -size 3", "draw has no option -size", "Did you mean --size?"),
        ("draw -qz", "draw has no option -qz", "Options:  megastyle draw -h"),
        ("shell", "shell needs SHELL: bash or zsh", "Usage and examples:  megastyle shell -h"),
        ("shell tcsh", "SHELL must be bash or zsh, not 'tcsh'", ""),
        (
            "shell zsh bash",
            "shell takes no further argument 'bash'",
            "Usage and examples:  megastyle shell -h",
        ),
        ("drow", "there is no command 'drow'", "Did you mean draw?"),
        ("photos/", "there is no command 'photos/'", "Commands:  megastyle -h"),
        (
            "--size 3 draw",
            "megastyle has no option --size",
            "Options follow the command:  megastyle COMMAND [INPUT...] [OPTIONS]",
        ),
    ],
)
def test_a_line_without_a_meaning_says_what_to_do(line: str, sentence: str, hint: str) -> None:
    assert refused(*line.split()) == (sentence, hint)


def test_help_and_version_are_printed_before_other_words_are_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for line, begin in (
        ("draw --mode odd -h", "Draw.\n\n  megastyle draw a\n"),
        ("draw --size 99 --help", "Draw.\n\nUsage: megastyle draw [INPUT...] [OPTIONS]\n"),
        ("shell -h", "Print.\n"),
        ("-h", "Draws.\n"),
        ("--help", "Draws.\n"),
        ("-V", "megastyle 1.2\n"),
    ):
        assert ended(*line.split()) == (0, [])
        assert capsys.readouterr().out.startswith(begin)


def test_no_word_at_all_shows_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--"]):
        assert ended(*words) == (2, [])
        assert capsys.readouterr().out.startswith("Draws.\n\nUsage: megastyle COMMAND")
