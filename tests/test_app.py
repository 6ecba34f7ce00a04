"""The table of commands agrees with the files, and one command is built without the others."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from megastyle_cli.app import COMMANDS, TOOLS, build
from tests.conftest import Runner, jsonl

FOLDER = Path(__file__).parents[1] / "commands"
SUMMARIES = {**COMMANDS, **TOOLS}


def commands_of(name: str) -> dict[str, Any]:
    group: Any = get_command(build(name))
    return dict(group.commands)


def test_every_file_of_commands_has_its_row() -> None:
    files = {path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py")}

    assert files == set(SUMMARIES)


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_summary_in_the_table_is_the_first_sentence_of_the_help(name: str) -> None:
    help_text = str(commands_of("completion")[name].help).replace("\b", "").strip()

    assert " ".join(help_text.split("\n\n")[0].split()) == SUMMARIES[name]


def test_only_the_command_asked_for_has_its_options() -> None:
    built = commands_of("pair")

    assert list(built) == list(SUMMARIES)
    assert {name for name, command in built.items() if command.params} == {"pair"}


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
