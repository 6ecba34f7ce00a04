"""Print a shell completion script.

Examples:

  megastyle completion bash > ~/.local/share/bash-completion/completions/megastyle
  megastyle completion zsh > "${fpath[1]}/_megastyle"
  megastyle completion fish > ~/.config/fish/completions/megastyle.fish
"""

from typing import Annotated

import typer

from megastyle_cli.core.choices import Shell


def main(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(help="The shell: bash, zsh or fish.")],
) -> int:
    import sys

    from megastyle_cli.cli.completion import command_tree, script

    sys.stdout.write(script(shell, command_tree(context.find_root().command)))
    return 0
