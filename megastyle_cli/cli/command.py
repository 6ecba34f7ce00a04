"""A command as typer parses it, from the groups of options that its `main` takes; all commands."""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING
from inspect import signature
from typing import Any, NoReturn

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from megastyle_cli.cli.checks import check_extras, check_files, check_models
from megastyle_cli.cli.help import (
    CommandText,
    described,
    full_help,
    root_help,
    short_help,
    terminal_width,
)
from megastyle_cli.cli.parameters import Parameter, option_groups, parameters_of
from megastyle_cli.cli.suggestions import command_hint, option_hint
from megastyle_cli.core.errors import USAGE, MegastyleError
from megastyle_cli.core.option import declared_options

# the errors of the parser, wherever this version of typer has it
PARSER_ERRORS: Any = sys.modules[typer.BadParameter.__module__]


class Command(TyperCommand):
    """A command whose options are the fields of the groups that its `main` takes.

    `run` is given a call of `main` and the value of every option; its result is the exit code.
    """

    def __init__(
        self,
        name: str,
        docstring: str,
        main: Callable[..., int | None],
        run: Callable[[Callable[[], int | None], Mapping[str, Any]], int],
    ) -> None:
        self.groups = option_groups(main)
        self.parameters = [
            parameter for group in self.groups.values() for parameter in parameters_of(group, name)
        ]
        self.docstring, self.main_function, self.run = docstring, main, run
        params: list[Any] = [_parsed(parameter) for parameter in self.parameters]
        params += [_help_flag("-h", self.short_help_text), _help_flag("--help", self.help_text)]
        super().__init__(name, params=params, add_help_option=False)
        self.allow_extra_args = True  # refused by `invoke`, in our words

    @property
    def description(self) -> CommandText:
        """What the docstring says, in parts."""
        return described(self.docstring)

    def short_help_text(self) -> str:
        """The help of one screen."""
        name = self.name or ""
        return short_help(name, self.description, self.parameters, terminal_width())

    def help_text(self) -> str:
        """The whole help."""
        return full_help(self.name or "", self.description, self.parameters, terminal_width())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the words of the command line. Raises MegastyleError if one is not understood."""
        flags = {flag for parameter in self.parameters for flag in parameter.spellings}
        return _parse(super().parse_args, ctx, args, {*flags, "-h", "--help"}, self.name or "")

    def invoke(self, ctx: Any) -> int:
        """Runs the command with its options, those that are not given at their defaults."""
        name = self.name or ""
        if ctx.args:
            raise MegastyleError(
                f"{name} takes no further argument {ctx.args[0]!r}",
                hint=f"Usage and examples:  megastyle {name} -h",
            )
        given = {
            field: list(value) if isinstance(value, tuple) else value
            for field, value in ctx.params.items()
            if ctx.get_parameter_source(field).name == "COMMANDLINE"
        }
        for parameter in self.parameters:
            if parameter.default is MISSING and parameter.field not in given:
                raise MegastyleError(
                    f"{name} needs {parameter.value}: {parameter.help.rstrip('.')}",
                    hint=f"Usage and examples:  megastyle {name} -h",
                )
        values = {p.field: given.get(p.field, p.default) for p in self.parameters}
        return self.run(lambda: self._call_main(ctx, values), values)

    def _call_main(self, ctx: Any, values: Mapping[str, Any]) -> int | None:
        made: dict[str, Any] = {
            name: group(**{field.name: values[field.name] for field, _ in declared_options(group)})
            for name, group in self.groups.items()
        }
        check_files(made.values())
        check_extras(made.values())
        check_models(made.values())
        if "context" in signature(self.main_function).parameters:
            made["context"] = ctx
        return self.main_function(**made)


class CommandGroup(TyperGroup):
    """The whole program: the commands by section, of which some are built."""

    def __init__(
        self,
        sentence: str,
        version: str,
        groups: Mapping[str, Mapping[str, str]],
        commands: Sequence[Command],
    ) -> None:
        self.sentence, self.groups = sentence, groups
        params: list[Any] = [
            _help_flag(("-V", "--version"), lambda: f"megastyle {version}\n"),
            _help_flag(("-h", "--help"), self.help_text),
        ]
        self.built = {command.name or "": command for command in commands}
        super().__init__(
            name="megastyle", commands=dict(self.built), params=params, add_help_option=False
        )

    @property
    def names(self) -> list[str]:
        """All commands in the order of the help."""
        return [name for commands in self.groups.values() for name in commands]

    def run(self, words: Sequence[str]) -> int:
        """The exit code of a command line. Raises MegastyleError if it has no meaning."""
        try:
            with self.make_context("megastyle", [*words]) as context:
                return int(self.invoke(context) or 0)
        except typer.Exit as end:
            return end.exit_code

    def help_text(self) -> str:
        """The help of the program."""
        return root_help(self.sentence, self.groups, terminal_width())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words before the command; without a command, shows the help and exits 2."""
        if args in ([], ["--"]):
            sys.stdout.write(self.help_text())
            raise typer.Exit(USAGE)
        return _parse(super().parse_args, ctx, args, {"-h", "--help", "-V", "--version"}, "")

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of this name. Raises MegastyleError with a suggestion if there is none."""
        if args[0] not in self.commands:
            raise MegastyleError(
                f"there is no command {args[0]!r}",
                hint=command_hint(args[0], [*self.names, "--version"]) or "Commands:  megastyle -h",
            )
        return super().resolve_command(ctx, args)


def _parsed(parameter: Parameter) -> Any:
    """An option or argument as the parser knows it; what is not given has its default later."""
    if not parameter.names:
        several = -1 if parameter.repeats else 1
        return TyperArgument(param_decls=[parameter.field], type=parameter.convert, nargs=several)
    flags = parameter.names
    if parameter.off_names:
        flags = (f"{flags[0]}/{parameter.off_names[0]}",)
    names = [parameter.field, *flags]
    if parameter.option.is_counter:
        return TyperOption(param_decls=names, count=True)
    if parameter.kind is bool:
        return TyperOption(param_decls=names, is_flag=True)
    return TyperOption(param_decls=names, type=parameter.convert, multiple=parameter.repeats)


def _help_flag(names: str | tuple[str, ...], text: Callable[[], str]) -> Any:
    """A flag that prints a text and ends, before other options are looked at."""

    def show(_context: Any, _parameter: Any, is_given: bool) -> None:
        if is_given:
            sys.stdout.write(text())
            raise typer.Exit()

    decls = [names] if isinstance(names, str) else list(names)
    return TyperOption(
        param_decls=decls, is_flag=True, is_eager=True, expose_value=False, callback=show
    )


def _parse(
    parse: Callable[[Any, list[str]], list[str]],
    context: Any,
    words: list[str],
    flags: Collection[str],
    command: str,
) -> list[str]:
    """`parse`, with the parser's errors in our words. One dash before a long name is an error."""
    end = words.index("--") if "--" in words else len(words)
    for word in words[:end] if command else ():
        is_short = word.startswith("-") and not word.startswith("--")
        if is_short and f"-{word.partition('=')[0]}" in flags:
            _raise_unknown(word, flags, command)
    given = [*words]
    try:
        return parse(context, words)
    except PARSER_ERRORS.NoSuchOption as error:
        flag = str(error.option_name)
        if not flag.startswith("--"):  # the letter of a word like -threads or -nt
            letters = re.compile(f"-[^-]*{re.escape(flag[1])}")
            flag = next((word for word in given if letters.match(word)), flag)
        _raise_unknown(flag, flags, command)
    except PARSER_ERRORS.BadOptionUsage as error:
        _raise_misused(str(error.option_name), context.command)


def _raise_unknown(flag: str, flags: Collection[str], command: str) -> NoReturn:
    if command:
        hint = option_hint(flag, flags, command) or f"Options:  megastyle {command} -h"
    else:
        hint = option_hint(flag, flags, "COMMAND") if flag.startswith("--") else ""
        hint = hint or "Options follow the command:  megastyle COMMAND [INPUT...] [OPTIONS]"
    raise MegastyleError(f"{command or 'megastyle'} has no option {flag}", hint=hint)


def _raise_misused(flag: str, command: Any) -> NoReturn:
    """An option without its value, or a switch with one."""
    for parameter in getattr(command, "parameters", ()):
        if flag in parameter.spellings and parameter.value:
            about = parameter.help
            raise MegastyleError(f"{flag} needs a value", hint=f"{flag} {parameter.value}  {about}")
    raise MegastyleError(f"{flag} takes no value", hint=f"give {flag} alone")
