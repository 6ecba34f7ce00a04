"""Completion scripts from the command tree: static text, so that TAB starts no Python."""

from collections.abc import Sequence
from dataclasses import dataclass

from megastyle_cli.cli.command import CommandGroup
from megastyle_cli.cli.help import HELP_OPTIONS
from megastyle_cli.cli.parameters import Parameter
from megastyle_cli.core.choices import Shell


@dataclass(frozen=True, kw_only=True)
class CompletedCommand:
    """One command: its name, its first sentence, its flags; the choices of its argument."""

    name: str
    help: str
    flags: tuple[Parameter, ...]
    words: tuple[str, ...]


ROOT_FLAGS = (
    Parameter(field="version", names=("-V", "--version"), help="Show the version."),
    Parameter(field="help", names=("-h", "--help"), help="Show help."),
)


def command_tree(group: CommandGroup) -> list[CompletedCommand]:
    """The commands of the program in order, and `help` with their names as its argument."""
    return [
        *(
            CompletedCommand(
                name=name,
                help=command.description.sentence,
                flags=(*(p for p in command.parameters if p.names), *HELP_OPTIONS),
                words=tuple(w for p in command.parameters if not p.names for w in p.choices),
            )
            for name, command in group.built.items()
        ),
        CompletedCommand(
            name="help", help="Show the help of a command.", flags=(), words=tuple(group.built)
        ),
    ]


def script(shell: Shell, commands: Sequence[CompletedCommand]) -> str:
    """The completion script of `shell` for `commands`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _spellings(flags: tuple[Parameter, ...], between: str = " ") -> str:
    return between.join(name for flag in flags for name in flag.spellings)


def _bash(commands: Sequence[CompletedCommand]) -> str:
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


def _bash_case(command: CompletedCommand) -> str:
    lines = [f"        {command.name})", f'            flags="{_spellings(command.flags)}"']
    if command.words:
        lines.append(f'            words="{" ".join(command.words)}" files=no')
    cases = [
        f'{"|".join(flag.spellings)}) words="{" ".join(flag.choices)}" flags="" files=no'
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


def _zsh(commands: Sequence[CompletedCommand]) -> str:
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


def _zsh_case(command: CompletedCommand) -> str:
    rest = f"({' '.join(command.words)})" if command.words else "_files"
    specs = [*(_zsh_flag(flag) for flag in command.flags), f"'*:input:{rest}' ;;"]
    body = " \\\n".join(f"                    {spec}" for spec in specs)
    return f"                {command.name}) _arguments -s -S \\\n{body}"


def _zsh_flag(flag: Parameter) -> str:
    """`'(-o --output)'{-o+,--output=}'[What it does.]:PATH:_files'`: + and = let a value adjoin."""
    joints = {True: "=", False: "+"} if flag.value else {True: "", False: ""}
    names = [name + joints[name.startswith("--")] for name in flag.spellings]
    label = "[" + flag.help.replace("[", "(").replace("]", ")") + "]"
    if flag.value:
        action = (
            f"({' '.join(flag.choices)})" if flag.choices else "_files" if flag.is_file else " "
        )
        label += f":{flag.value}:{action}"
    guard = "*" if flag.repeats else ""
    if len(names) == 1:
        return _quoted(guard + names[0] + label)
    guard = guard or f"({' '.join(flag.spellings)})"
    return f"'{guard}'{{{','.join(names)}}}{_quoted(label)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(commands: Sequence[CompletedCommand]) -> str:
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


def _fish_flag(command: str, flag: Parameter) -> str:
    names = [f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in flag.spellings]
    value = ""
    if flag.choices:
        value = f" -x -a {_fish_quoted(' '.join(flag.choices))}"
    elif flag.value:
        value = " -r -F" if flag.is_file else " -x"
    return f"{_fish_in(command)} {' '.join(names)}{value} -d {_fish_quoted(flag.help)}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
