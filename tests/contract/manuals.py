"""The manual of every command, read from the command tree: what documents and man pages show."""

from dataclasses import dataclass
from functools import cache

from megastyle_cli.app import build
from megastyle_cli.cli.command import Command
from megastyle_cli.cli.help import by_heading, shown_default, usage
from megastyle_cli.cli.parameters import Parameter


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option or argument as a manual shows it; `default` is "" where there is none to show."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class Manual:
    """One command: its first sentence, example lines, other paragraphs and options by heading."""

    name: str
    summary: str
    examples: tuple[str, ...]
    text: tuple[str, ...]
    usage: str
    sections: dict[str, list[Flag]]


@cache
def manuals() -> dict[str, Manual]:
    """The manual of every command, in the order of the help."""
    return {name: _manual(name, command) for name, command in build("completion").built.items()}


def _manual(name: str, command: Command) -> Manual:
    text = command.description
    options = [parameter for parameter in command.parameters if parameter.names]
    return Manual(
        name=name,
        summary=text.sentence,
        examples=tuple(line.strip() for line in text.examples),
        text=text.paragraphs,
        usage=usage(name, command.parameters),
        sections={
            heading: [_flag(parameter) for parameter in found]
            for heading, found in by_heading(options).items()
        },
    )


def _flag(parameter: Parameter) -> Flag:
    return Flag(
        names=parameter.spellings,
        value=parameter.value,
        help=parameter.help,
        default="" if parameter.kind is bool else shown_default(parameter),
        is_required=parameter.is_required,
    )
