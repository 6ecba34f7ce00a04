"""Completion scripts from the command tree: static text, so that TAB starts no Python."""

from dataclasses import dataclass
from typing import Any

from megastyle_cli.core.choices import Shell

FILES = ("PATH", "DIR", "FILE", "FILE.png", "FILE.html", "PICTURE")  # metavars of file names


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option: its spellings, what it does, whether it may come twice, and its value.

    `value` is the value's metavar, "" for a switch; `choices` are the words it may be, if few.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    repeats: bool = False

    @property
    def is_file(self) -> bool:
        """Whether the value is a file name."""
        return self.value in FILES


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand: its name, its first sentence, its flags; the choices of its argument."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    words: tuple[str, ...]


HELP_FLAG = Flag(names=("-h", "--help"), help="Show help.")
ROOT_FLAGS = (Flag(names=("-V", "--version"), help="Show the version."), HELP_FLAG)


def command_tree(group: Any) -> list[Command]:
    """The subcommands of `group`, typer's command of the whole program, in order."""
    return [
        Command(
            name=name,
            help=(command.help or "").strip().split("\n")[0],
            flags=(*(_flag(p) for p in command.params if p.param_type_name == "option"), HELP_FLAG),
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
    choices = tuple(getattr(option.type, "choices", ()))
    is_switch = option.is_flag or option.count
    return Flag(
        names=(*option.opts, *option.secondary_opts),
        help=(option.help or "").split("\n")[0],
        value="" if is_switch else option.metavar or "|".join(choices) or "VALUE",
        choices=choices,
        repeats=option.multiple or option.count,
    )


def _spellings(flags: tuple[Flag, ...], between: str = " ") -> str:
    return between.join(name for flag in flags for name in flag.names)


def _bash(commands: list[Command]) -> str:
    cases = "\n".join(_bash_case(command) for command in commands)
    names = " ".join(command.name for command in commands)
    return f"""\
# bash completion for megastyle; made by: megastyle completion bash
_megastyle() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
    local word command="" flags="" words="" files=yes ended=""
    # readline cuts --flag=value into three words
    [ "$cur" != = ] || cur=""
    [ "$prev" != = ] || prev=${{COMP_WORDS[COMP_CWORD-2]}}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in
            --) ended=yes prev="" ;;
            -*) ;;
            *) command=${{command:-$word}} ;;
        esac
    done
    case $command in
        "") words="{names}" flags="{_spellings(ROOT_FLAGS)}" files=no ;;
{cases}
        *) files=no ;;
    esac
    case $ended$cur in -*) words=$flags ;; esac
    # compopt works while readline completes, and not at all in bash 3
    [ $files = yes ] || compopt +o default +o bashdefault 2> /dev/null
    # shellcheck disable=SC2207  # no word holds a space; mapfile is not in bash 3
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o bashdefault -o default -F _megastyle megastyle
"""


def _bash_case(command: Command) -> str:
    lines = [f"        {command.name})", f'            flags="{_spellings(command.flags)}"']
    if command.words:
        lines.append(f'            words="{" ".join(command.words)}" files=no')
    cases = [
        f'{"|".join(flag.names)}) words="{" ".join(flag.choices)}" flags="" files=no'
        for flag in command.flags
        if flag.choices
    ]
    valued = [flag for flag in command.flags if flag.value and not flag.choices]
    files = tuple(flag for flag in valued if flag.is_file)
    others = tuple(flag for flag in valued if not flag.is_file)
    cases += [f'{_spellings(files, "|")}) flags=""'] if files else []
    cases += [f'{_spellings(others, "|")}) flags="" files=no'] if others else []
    if cases:
        lines += ["            case $prev in", *(f"                {c} ;;" for c in cases)]
        lines.append("            esac")
    return "\n".join([*lines, "            ;;"])


def _zsh(commands: list[Command]) -> str:
    names = "\n".join(
        f"        {_quoted(command.name + ':' + command.help)}" for command in commands
    )
    cases = "\n".join(_zsh_case(command) for command in commands)
    root = " \\\n".join(f"        {_zsh_flag(flag)}" for flag in ROOT_FLAGS)
    return f"""\
#compdef megastyle
# zsh completion for megastyle; made by: megastyle completion zsh
_megastyle() {{
    local curcontext="$curcontext" state line
    local -A opt_args
    local -a commands
    commands=(
{names}
    )
    _arguments -C -S \\
{root} \\
        '1: :->command' '*:: :->rest'
    case $state in
        command) _describe -t commands command commands ;;
        rest)
            case $line[1] in
{cases}
            esac ;;
    esac
}}
if [ "$funcstack[1]" = _megastyle ]; then _megastyle "$@"; else compdef _megastyle megastyle; fi
"""


def _zsh_case(command: Command) -> str:
    rest = f"({' '.join(command.words)})" if command.words else "_files"
    specs = [*(_zsh_flag(flag) for flag in command.flags), f"'*:input:{rest}' ;;"]
    body = " \\\n".join(f"                    {spec}" for spec in specs)
    return f"                {command.name}) _arguments -s -S \\\n{body}"


def _zsh_flag(flag: Flag) -> str:
    """`'(-o --output)'{-o+,--output=}'[What it does.]:PATH:_files'`: + and = let a value adjoin."""
    joints = {True: "=", False: "+"} if flag.value else {True: "", False: ""}
    names = [name + joints[name.startswith("--")] for name in flag.names]
    label = "[" + flag.help.replace("[", "(").replace("]", ")") + "]"
    if flag.value:
        action = (
            f"({' '.join(flag.choices)})" if flag.choices else "_files" if flag.is_file else " "
        )
        label += f":{flag.value}:{action}"
    guard = "*" if flag.repeats else ""
    if len(names) == 1:
        return _quoted(guard + names[0] + label)
    guard = guard or f"({' '.join(flag.names)})"
    return f"'{guard}'{{{','.join(names)}}}{_quoted(label)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(commands: list[Command]) -> str:
    lines = [
        "# fish completion for megastyle; made by: megastyle completion fish",
        "function __megastyle_command_is",
        "    set -l words (string match -v -- '-*' (commandline -opc))",
        '    test "$words[2]" = "$argv[1]"',
        "end",
        "complete -c megastyle -f",
        *(_fish_flag("", flag) for flag in ROOT_FLAGS),
    ]
    for command in commands:
        lines.append(f"{_fish_in('')} -a {command.name} -d {_fish_quoted(command.help)}")
    for command in commands:
        words = f"-a {_fish_quoted(' '.join(command.words))}" if command.words else "-F"
        lines.append(f"{_fish_in(command.name)} {words}")
        lines += [_fish_flag(command.name, flag) for flag in command.flags]
    return "\n".join(lines) + "\n"


def _fish_in(command: str) -> str:
    condition = f"__megastyle_command_is {command}".rstrip()
    return f"complete -c megastyle -n '{condition}'"


def _fish_flag(command: str, flag: Flag) -> str:
    names = [f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in flag.names]
    value = ""
    if flag.choices:
        value = f" -x -a {_fish_quoted(' '.join(flag.choices))}"
    elif flag.value:
        value = " -r -F" if flag.is_file else " -x"
    return f"{_fish_in(command)} {' '.join(names)}{value} -d {_fish_quoted(flag.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
