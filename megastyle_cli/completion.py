"""Completion scripts from the command tree: static text, so that TAB starts no Python."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True)
class Flag:
    """One option: its spellings, what it does, the words it takes (empty: anything, so files)."""

    names: tuple[str, ...]
    help: str
    choices: tuple[str, ...]
    takes_value: bool


@dataclass(frozen=True)
class Command:
    """One subcommand: its name, its first sentence, its flags; `words` are choices of its argument."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> int:
    """Print a completion script for bash, zsh or fish.

    Examples:

      megastyle completion bash > ~/.local/share/bash-completion/completions/megastyle

      megastyle completion zsh > "${fpath[1]}/_megastyle"

      megastyle completion fish > ~/.config/fish/completions/megastyle.fish
    """
    import sys

    from megastyle_cli.app import app

    sys.stdout.write(script(shell, command_tree(app)))
    return 0


def command_tree(app: typer.Typer) -> list[Command]:
    """The subcommands of `app`, in order."""
    group: Any = typer.main.get_command(app)
    return [
        Command(
            name=name,
            help=_first_sentence(command.help),
            flags=tuple(_flag(p) for p in command.params if p.param_type_name == "option")
            + (Flag(("-h", "--help"), "Show examples and options.", (), False),),
            words=tuple(
                word
                for p in command.params
                if p.param_type_name == "argument"
                for word in getattr(p.type, "choices", ())
            ),
        )
        for name, command in group.commands.items()
    ]


def script(shell: Shell, commands: list[Command]) -> str:
    """The completion script of `shell` for `commands`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _flag(option: Any) -> Flag:
    return Flag(
        names=(*option.opts, *option.secondary_opts),
        help=(option.help or "").split("\n")[0],
        choices=tuple(getattr(option.type, "choices", ())),
        takes_value=not (option.is_flag or option.count),
    )


def _first_sentence(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _bash(commands: list[Command]) -> str:
    cases = "\n".join(_bash_case(command) for command in commands)
    names = " ".join(command.name for command in commands)
    return f"""\
# bash completion for megastyle; made by: megastyle completion bash
_megastyle() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} word=
    local command= flags= valued= choices=
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in -*) ;; *) command=$word; break ;; esac
    done
    case $command in
        "") choices="{names}" flags="--version --help" ;;
{cases}
    esac
    case $cur in
        -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur") ;;
        *) [ -z "$choices" ] || mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur") ;;
    esac
}}
complete -o default -o bashdefault -F _megastyle megastyle
"""


def _bash_case(command: Command) -> str:
    flags = " ".join(name for flag in command.flags for name in flag.names)
    lines = [f"        {command.name})", f'            flags="{flags}"']
    if command.words:
        lines.append(f'            choices="{" ".join(command.words)}"')
    chosen = [flag for flag in command.flags if flag.choices]
    if chosen:
        lines.append("            case $prev in")
        lines += [
            f'                {"|".join(flag.names)}) choices="{" ".join(flag.choices)}" ;;'
            for flag in chosen
        ]
        lines.append("            esac")
    return "\n".join([*lines, "            ;;"])


def _zsh(commands: list[Command]) -> str:
    names = "\n".join(f"        {_zsh_word(c.name, c.help)}" for c in commands)
    cases = "\n".join(_zsh_case(command) for command in commands)
    return f"""\
#compdef megastyle
# zsh completion for megastyle; made by: megastyle completion zsh
_megastyle() {{
    local curcontext=$curcontext state line
    local -a commands
    commands=(
{names}
    )
    _arguments -C '(-V --version)'{{-V,--version}}'[Show the version.]' \\
        '(-h --help)'{{-h,--help}}'[Show help.]' '1: :->command' '*:: :->rest'
    case $state in
        command) _describe command commands ;;
        rest)
            case $line[1] in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = _megastyle ]; then _megastyle "$@"; else compdef _megastyle megastyle; fi
"""


def _zsh_word(name: str, help_text: str) -> str:
    return "'" + f"{name}:{help_text}".replace("'", "'\\''") + "'"


def _zsh_case(command: Command) -> str:
    lines = [f"                {command.name}) _arguments \\"]
    for flag in command.flags:
        told = (
            flag.help.replace("'", "'\\''").replace("[", "(").replace("]", ")").replace(":", "\\:")
        )
        value = ""
        if flag.takes_value:
            value = f":value:({' '.join(flag.choices)})" if flag.choices else ":value:_files"
        lines += [f"                    '*{name}[{told}]{value}' \\" for name in flag.names]
    rest = f"({' '.join(command.words)})" if command.words else "_files"
    return "\n".join([*lines, f"                    '*:input:{rest}' ;;"])


def _fish(commands: list[Command]) -> str:
    lines = ["# fish completion for megastyle; made by: megastyle completion fish"]
    for command in commands:
        lines.append(
            "complete -c megastyle -f -n __fish_use_subcommand"
            f" -a {command.name} -d {_fish_word(command.help)}"
        )
    for command in commands:
        seen = f"-n '__fish_seen_subcommand_from {command.name}'"
        if command.words:
            lines.append(f"complete -c megastyle {seen} -f -a '{' '.join(command.words)}'")
        for flag in command.flags:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in flag.names
            )
            value = f" -x -a '{' '.join(flag.choices)}'" if flag.choices else " -r -F"
            lines.append(
                f"complete -c megastyle {seen} {names}{value if flag.takes_value else ''}"
                f" -d {_fish_word(flag.help)}"
            )
    return "\n".join(lines) + "\n"


def _fish_word(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
