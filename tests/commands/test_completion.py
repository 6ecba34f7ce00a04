"""The command prints the script that is made from the command tree."""

import pytest

from megastyle_cli.app import build
from megastyle_cli.cli.completion import command_tree, script
from megastyle_cli.core.choices import Shell


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_all_commands(megastyle, shell: Shell) -> None:
    printed = megastyle("completion", shell)

    tree = command_tree(build("completion"))
    assert (printed.returncode, printed.stderr) == (0, b"")
    assert printed.stdout.decode() == script(shell, tree)


def test_another_shell_is_refused(megastyle) -> None:
    assert megastyle("completion", "tcsh").returncode == 2
