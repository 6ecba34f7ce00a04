"""Commands whose options come in groups: dataclass parameters become the flags that typer reads."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer

from megastyle_cli.core.option import Option, declared_options


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
        return main(**given, **made)

    called.__doc__, called.__name__, called.__module__ = (
        main.__doc__,
        main.__name__,
        main.__module__,
    )
    called.__signature__ = inspect.Signature(flags)  # type: ignore[attr-defined]
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in flags}
    return called


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
