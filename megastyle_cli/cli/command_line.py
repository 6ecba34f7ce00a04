"""The command line: groups of options as flags, inputs, which flags are set, sizes."""

import inspect
import sys
from collections.abc import Callable, Collection
from dataclasses import MISSING, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from megastyle_cli.cli.check_extras import check_extras
from megastyle_cli.cli.check_files import check_files
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import Option, declared_options

MIN_PX, MAX_PX = 32, 4096


def grouped(main: Callable[..., Any]) -> Callable[..., Any]:
    """`main` with each parameter that is a group of options replaced by the group's fields.

    The flags stand in the order of the parameters and, within a group, of its fields. `main` is
    called with the groups made from them. Other parameters stay as typer knows them.
    """
    types = get_type_hints(main, include_extras=True)
    flags: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(main).parameters.items():
        if is_dataclass(types[name]):
            groups[name] = types[name]
            flags += _parameters(types[name])
        else:
            flags.append(
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[name])
            )

    def called(**given: Any) -> Any:
        made = {
            name: group(
                **{field.name: given.pop(field.name) for field, _ in declared_options(group)}
            )
            for name, group in groups.items()
        }
        check_files(made.values())
        check_extras(made.values())
        return main(**given, **made)

    called.__doc__, called.__name__, called.__module__ = (
        main.__doc__,
        main.__name__,
        main.__module__,
    )
    called.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flags}
    return called


def inputs_or_stdin(inputs: list[str] | None, context: typer.Context) -> list[str]:
    """The inputs named, else standard input; if that is a terminal, short help and exit 2."""
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


def _parameters(group: type) -> list[inspect.Parameter]:
    types = get_type_hints(group)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=Annotated[types[field.name], _as_typer(option)],
        )
        for field, option in declared_options(group)
    ]


def _as_typer(option: Option) -> Any:
    shown: dict[str, Any] = {
        "metavar": option.metavar,
        "help": option.help,
        "show_default": option.show_default,
    }
    if option.is_argument:
        return typer.Argument(**shown)
    if option.is_counter:
        return typer.Option(*option.flags, count=True, **shown)
    return typer.Option(*option.flags, min=option.min, max=option.max, **shown)
