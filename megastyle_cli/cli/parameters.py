"""The options and arguments of a command, from the groups of options that its `main` takes; what
its body asks of them: the inputs, which flags are set, sizes."""

import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import MISSING, dataclass, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import Option, declared_options

MIN_PX, MAX_PX = 32, 4096  # sides of a size


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One option or argument: its spellings, the values it takes, and what the help says of it.

    `names` is empty for an argument; `off_names` switch off what `names` switch on. `value` is the
    metavar of the value, "" for a switch; `choices` are the words it may be, if they are few.
    """

    field: str
    names: tuple[str, ...] = ()
    off_names: tuple[str, ...] = ()
    help: str
    heading: str = "Running"
    kind: type = bool
    value: str = ""
    choices: tuple[str, ...] = ()
    repeats: bool = False
    default: Any = None
    option: Option = Option()

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every flag of the option."""
        return (*self.names, *self.off_names)

    @property
    def is_file(self) -> bool:
        """Whether the value is the name of a file or folder."""
        return self.option.file != ""

    @property
    def is_required(self) -> bool:
        """Whether the command does not run without it."""
        return self.option.is_required or self.default is MISSING

    def convert(self, word: str) -> Any:
        """The value of a word of the command line; raises MegastyleError if it is not valid."""
        if self.choices:
            if word in self.choices:
                return word
            raise MegastyleError(f"{self} must be {_either(self.choices)}, not {word!r}")
        try:
            value = self.kind(word)
        except ValueError:
            value = None
        low, high = self.option.min, self.option.max
        # a comparison with what is not a number is false
        fits = value is not None and (low is None or value >= low) and value == value
        if self.kind in (int, float) and not (fits and (high is None or value <= high)):
            what = "a whole number" if self.kind is int else "a number"
            raise MegastyleError(f"{self} must be {what}{self.range()}, not {word!r}")
        return value

    def range(self) -> str:
        """The limits of a number in words, "" if it has none."""
        low, high = (_number(bound) for bound in (self.option.min, self.option.max))
        if low and high:
            return f" from {low} to {high}"
        return f" of at least {low}" if low else f" of at most {high}" if high else ""

    def __str__(self) -> str:
        """How an error calls it: by its longest flag, or by what an argument stands for."""
        return max(self.names, key=len, default=self.value or self.field.upper())


def option_groups(main: Callable[..., Any]) -> dict[str, type]:
    """The parameters of `main` that are groups of options, each with the group's class."""
    types = get_type_hints(main)
    names = inspect.signature(main).parameters
    return {name: types[name] for name in names if is_dataclass(types[name])}


def parameters_of(group: type, command: str) -> list[Parameter]:
    """The options of a group in the order of its fields, with the texts for `command`."""
    types = get_type_hints(group)
    made = []
    for field, option in declared_options(group):
        if command in option.less_common_in:
            option = replace(option, is_common=False)
        kind, choices, repeats = _kind(types[field.name])
        names, off_names = option.flags, tuple[str, ...]()
        if not names and not option.is_argument:
            name = field.name.replace("_", "-")
            names, off_names = (f"--{name}",), (f"--no-{name}",) if kind is bool else ()
        value = "" if kind is bool or option.is_counter else "|".join(choices) or "VALUE"
        made.append(
            Parameter(
                field=field.name,
                names=names,
                off_names=off_names,
                help=option.help_in.get(command, option.help),
                heading=option.heading or getattr(group, "HEADING", "Method"),
                kind=kind,
                value=option.metavar or value,
                choices=choices,
                repeats=repeats or option.is_counter,
                default=field.default,
                option=option,
            )
        )
    return made


def inputs_or_stdin(inputs: list[str] | None, context: typer.Context) -> list[str]:
    """The inputs named, else standard input; if that is a terminal, an example and exit 2."""
    if inputs:
        return inputs
    if sys.stdin is None or sys.stdin.isatty():
        command: Any = context.command
        raise MegastyleError(
            f"{command.name} needs an input: give one, or pipe records in",
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


def _kind(annotation: Any) -> tuple[type, tuple[str, ...], bool]:
    """The type of one value, the words it may be, and whether there may be several."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is list:
        return (*_kind(get_args(annotation)[0])[:2], True)
    if get_origin(annotation) is Literal:
        return str, get_args(annotation), False
    assert annotation in (str, int, float, bool, Path), annotation
    return annotation, (), False


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _number(bound: float | None) -> str:
    return "" if bound is None else f"{bound:g}"
