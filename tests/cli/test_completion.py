"""The completion scripts are those of the command tree, and do their work in real shells."""

import os
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from megastyle_cli.app import COMMANDS, TOOLS, build
from megastyle_cli.cli.completion import command_tree, script
from megastyle_cli.core.choices import Shell

FOLDER = Path(__file__).parents[2] / "completions"
FILES: dict[Shell, Path] = {
    "bash": FOLDER / "megastyle.bash",
    "zsh": FOLDER / "_megastyle",
    "fish": FOLDER / "megastyle.fish",
}
ALL = {*COMMANDS, *TOOLS, "help"}


def installed(shell: str) -> str:
    """The path of `shell`; where it is missing or too old the test is skipped."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "bash" and subprocess.run([found, "-c", "[ $BASH_VERSINFO -ge 4 ]"]).returncode:
        pytest.skip("bash is older than 4: it offers files everywhere")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory with one file, whose name has a space."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "my picture.png").touch()
    return tmp_path / "cwd"


@pytest.mark.parametrize("shell", FILES)
def test_the_committed_script_is_the_one_of_the_command_tree(shell: Shell) -> None:
    assert FILES[shell].read_text() == script(shell, command_tree(build("completion"))), (
        "run: make completions"
    )


# bash: what the function answers


BASH_REPLY = """
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_megastyle
printf '%s\\n' "${COMPREPLY[*]-}"
"""


def bash_reply(*words: str) -> list[str]:
    """COMPREPLY for a line of these words, the last of which is being typed."""
    ended = subprocess.run(
        [installed("bash"), "--norc", "-uc", BASH_REPLY]
        + ["bash", str(FILES["bash"]), "megastyle", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_bash_gives_the_commands() -> None:
    assert set(bash_reply("")) == ALL
    assert bash_reply("cl") == ["cluster"]
    assert set(bash_reply("--")) == {"--version", "--help"}


def test_bash_gives_the_options_of_the_command() -> None:
    assert {"--kind", "--output", "--help"} <= set(bash_reply("caption", "--"))
    assert bash_reply("caption", "--near") == []
    assert bash_reply("dedup", "--no-n") == ["--no-near"]


@pytest.mark.parametrize("words", [("--kind", ""), ("--kind", "="), ("--kind", "=", "")])
def test_bash_gives_the_choices_of_an_option(words: tuple[str, ...]) -> None:
    assert bash_reply("caption", *words) == ["style", "content", "both"]


def test_bash_gives_the_choices_of_an_argument() -> None:
    assert bash_reply("completion", "") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize(
    "words",
    [
        ("caption", ""),  # a file: readline's part
        ("caption", "imgs/", "-o", ""),
        ("caption", "--limit", ""),
        ("caption", "--", "--k"),
        ("caption", "--", "--kind", ""),
        ("captain", ""),
        ("captain", "--"),
    ],
)
def test_bash_leaves_everything_else_to_readline(words: tuple[str, ...]) -> None:
    assert bash_reply(*words) == []


# bash and zsh: what TAB does to a line


RECORD = "megastyle() { printf '%s\\n' \"$@\" > ../typed; exit; }\nPS1='ready> '\n"
BASH_START = 'source "$COMPLETIONS/megastyle.bash"\n' + RECORD
ZSH_START = 'fpath=("$COMPLETIONS" $fpath)\nautoload -U compinit\ncompinit -D -u\n' + RECORD


def typed(shell: str, line: str, cwd: Path) -> list[str]:
    """The arguments that `megastyle` got when this line, TABs included, was typed at a terminal."""
    home = cwd.parent
    if shell == "bash":
        start, arguments = BASH_START, ["--noprofile", "--rcfile", str(home / ".zshrc"), "-i"]
    else:
        start, arguments = ZSH_START, ["-d", "-i"]
    (home / ".zshrc").write_text(start)
    settings = {"COMPLETIONS": FOLDER, "HOME": home, "ZDOTDIR": home, "TERM": "vt100"}
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [installed(shell), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        shown = b""
        while b"ready> " not in shown:
            shown += _read(ours)
        os.write(ours, line.encode() + b"\n")
        while _read(ours):
            pass
        os.close(ours)
        process.wait()
    return (home / "typed").read_text().splitlines()


def _read(terminal: int) -> bytes:
    """What the shell shows next; empty at its end."""
    if not select.select([terminal], [], [], 30)[0]:
        os.close(terminal)  # ends the shell
        raise TimeoutError("the shell is waiting for something")
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end of a terminal is closed
        return b""


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("line", "arguments"),
    [
        ("cap\t", ["caption"]),
        ("dedup --no-n\t", ["dedup", "--no-near"]),
        ("caption --kind s\t", ["caption", "--kind", "style"]),
        ("completion z\t", ["completion", "zsh"]),
        ("caption my\t", ["caption", "my picture.png"]),
        ("caption -o my\t", ["caption", "-o", "my picture.png"]),
        ("caption --limit my\t", ["caption", "--limit", "my"]),
        ("caption -- --nu\t", ["caption", "--", "--nu"]),
        ("captain my\t", ["captain", "my"]),
    ],
)
def test_tab_completes_in_a_terminal(
    shell: str, line: str, arguments: list[str], folder: Path
) -> None:
    assert typed(shell, f"megastyle {line}", folder) == arguments


def test_zsh_loads_a_script_that_is_sourced(tmp_path: Path) -> None:
    (tmp_path / ".zshrc").touch()
    ended = subprocess.run(
        [installed("zsh"), "-f", "-c"]
        + ['autoload -U compinit; compinit -D -u; source "$1"; echo $_comps[megastyle]']
        + ["zsh", str(FILES["zsh"])],
        capture_output=True,
        text=True,
        env={**os.environ, "ZDOTDIR": str(tmp_path)},
        check=True,
    )

    assert (ended.stdout, ended.stderr) == ("_megastyle\n", "")


# fish


def fish_reply(line: str, cwd: Path) -> list[str]:
    """What fish offers for `megastyle LINE`, without descriptions."""
    ended = subprocess.run(
        [installed("fish"), "--no-config", "-c", "source $argv[1]; complete -C $argv[2]"]
        + [str(FILES["fish"]), f"megastyle {line}"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HOME": str(cwd.parent)},
        check=False,  # 1 where nothing is offered
    )
    assert ended.stderr == ""
    return [offer.split("\t")[0] for offer in ended.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("cap", ["caption"]),
        ("--ver", ["--version"]),
        ("dedup --no-n", ["--no-near"]),
        ("caption --kind ", ["both", "content", "style"]),
        ("caption --kind=s", ["--kind=style"]),
        ("completion ", ["bash", "fish", "zsh"]),
        ("caption my", ["my picture.png"]),
        ("caption -o my", ["my picture.png"]),
        ("caption --limit my", []),
        ("dedup caption --kin", []),
        ("caption -- --kin", []),
        ("captain my", []),
    ],
)
def test_fish_offers(line: str, offers: list[str], folder: Path) -> None:
    assert fish_reply(line, folder) == offers


def test_fish_gives_the_commands(folder: Path) -> None:
    assert set(fish_reply("", folder)) == ALL
