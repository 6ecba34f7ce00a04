"""The table of commands agrees with the files, and one command is built without the others."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from megastyle_cli.app import COMMANDS, COMPLETION, build

FOLDER = Path(__file__).parents[1] / "commands"
SUMMARIES = dict((*COMMANDS.items(), COMPLETION))


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
