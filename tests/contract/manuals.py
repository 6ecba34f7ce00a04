"""The manual of every command, read from the command tree: what documents and man pages show."""

from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from typer.main import get_command

from megastyle_cli.app import _command_module, build
from megastyle_cli.core.option import HEADINGS, Option, declared_options


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
    arguments: tuple[str, ...]
    sections: dict[str, list[Flag]]

    @property
    def usage(self) -> str:
        """How it is called: `megastyle dedup [INPUT]... [OPTIONS]`."""
        required = [
            f"{flag.names[-1]} {flag.value}"
            for flags in self.sections.values()
            for flag in flags
            if flag.is_required
        ]
        return " ".join(["megastyle", self.name, *self.arguments, *required, "[OPTIONS]"])


@cache
def manuals() -> dict[str, Manual]:
    """The manual of every command, in pipeline order."""
    group: Any = get_command(build("completion"))
    return {name: _manual(name, command) for name, command in group.commands.items()}


def _manual(name: str, command: Any) -> Manual:
    declared = _declarations(name)
    sections: dict[str, list[Flag]] = {}
    for parameter in command.params:
        how, heading = declared.get(parameter.name, (Option(), ""))
        if parameter.param_type_name == "option":
            sections.setdefault(heading, []).append(_flag(name, parameter, how))
    ranks = {heading: rank for rank, heading in enumerate(HEADINGS)}
    own_place = ranks["Method"] - 0.5  # a heading of the command's own
    ordered = sorted(sections, key=lambda heading: ranks.get(heading, own_place))
    paragraphs = [p.replace("\b", "").strip("\n") for p in command.help.strip().split("\n\n")]
    return Manual(
        name=name,
        summary=paragraphs[0].replace("\n", " "),
        examples=tuple(
            line.strip() for p in paragraphs if p.startswith("  ") for line in p.splitlines()
        ),
        text=tuple(p for p in paragraphs[1:] if not p.startswith("  ") and p != "Examples:"),
        arguments=tuple(
            p.metavar or p.make_metavar(None)
            for p in command.params
            if p.param_type_name == "argument"
        ),
        sections={heading: sections[heading] for heading in ordered},
    )


def _declarations(name: str) -> dict[str, tuple[Option, str]]:
    """Field name -> how the field is declared, and its heading."""
    types = get_type_hints(_command_module(name).main, include_extras=True)
    return {
        field.name: (how, how.heading or getattr(group, "HEADING", ""))
        for group in types.values()
        if is_dataclass(group)
        for field, how in declared_options(group)
    }


def _flag(command: str, parameter: Any, how: Option) -> Flag:
    choices = tuple(getattr(parameter.type, "choices", ()))
    is_switch = parameter.is_flag or parameter.count
    default = parameter.default
    is_shown = not is_switch and parameter.show_default and default not in (None, "", ())
    return Flag(
        names=(*parameter.opts, *parameter.secondary_opts),
        value="" if is_switch else parameter.metavar or "|".join(choices) or "VALUE",
        help=" ".join((how.help_in.get(command) or parameter.help or "").split()),
        default=str(getattr(default, "value", default)) if is_shown else "",
        is_required=how.is_required,
    )
