"""The table of commands agrees with the files, and one command is built without the others."""

import subprocess
import sys
from pathlib import Path

import pytest

from megastyle_cli.app import COMMANDS, GROUPS, TOOLS, build
from tests.conftest import Runner, jsonl

FOLDER = Path(__file__).parents[1] / "commands"
SUMMARIES = {**COMMANDS, **TOOLS}


def test_every_file_of_commands_has_its_row() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py")}

    assert files == set(SUMMARIES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_summary_in_the_table_is_the_first_sentence_of_the_help(name: str) -> None:
    assert build(name).built[name].description.sentence == SUMMARIES[name]


def test_only_the_command_asked_for_is_built() -> None:
    assert list(build("pair").built) == ["pair"]
    assert list(build("completion").built) == list(SUMMARIES)


def test_help_is_the_same_by_every_way_to_it(megastyle: Runner) -> None:
    root, pair = megastyle("--help"), megastyle("pair", "--help")

    assert megastyle("help").stdout == megastyle("-h").stdout == root.stdout
    assert megastyle("help", "pair").stdout == pair.stdout != root.stdout
    assert all(heading in root.stdout.decode() for heading in GROUPS)


def test_no_command_prints_the_help_and_exits_2(megastyle: Runner) -> None:
    ended = megastyle()

    assert (ended.returncode, ended.stderr) == (2, b"")
    assert ended.stdout == megastyle("--help").stdout


def test_a_usage_error_is_a_sentence_and_below_it_what_to_do(megastyle: Runner) -> None:
    ended = megastyle("captoin", "imgs")

    assert (ended.returncode, ended.stdout) == (2, b"")
    assert ended.stderr == b"error: there is no command 'captoin'\n       Did you mean caption?\n"


def test_help_into_a_closed_pipe_is_a_success() -> None:
    line = f"set -o pipefail; '{sys.executable}' -m megastyle_cli eval --help | true"
    ended = subprocess.run(["bash", "-c", line], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_names_do_not_reach_the_terminal_as_escape_sequences(
    megastyle: Runner, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\r.png"
    (tmp_path / evil).write_text("no picture")
    listing = jsonl(tmp_path / "l.jsonl", [{"id": "\x1b[31m"}, {"file_name": evil}])

    for words in (
        ["caption", tmp_path / evil],
        ["caption", tmp_path / f"none{evil}"],
        ["caption", listing],
        ["caption", listing, "-vv"],
        ["dedup", listing, f"--no-such-{evil}"],
        ["caption", listing, "-n"],
    ):
        ended = megastyle(*words, "-o", tmp_path / "o.jsonl", "--overwrite")
        assert not set(ended.stderr.decode()) & set("\x1b\x07\x9b\r"), words


CTRL_C_AT_ONCE = """
import os, signal, sys
from megastyle_cli.core.early_signals import exit_on_signals
exit_on_signals()
from megastyle_cli import app
from megastyle_cli.runner import signals

# the first line of work that an interrupt can meet, once it raises
app.raise_on_interrupt = lambda: (signals.raise_on_interrupt(), os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["megastyle", "ls", "-q", "/dev/null"]
app.main()
"""


def test_ctrl_c_before_the_work_is_exit_code_130() -> None:
    ended = subprocess.run([sys.executable, "-c", CTRL_C_AT_ONCE], capture_output=True)

    assert (ended.returncode, ended.stderr) == (130, b"error: interrupted\n")
