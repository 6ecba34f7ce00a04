"""Print a shell completion script.

Examples:

  megastyle completion bash > ~/.local/share/bash-completion/completions/megastyle
  megastyle completion zsh > "${fpath[1]}/_megastyle"
  megastyle completion fish > ~/.config/fish/completions/megastyle.fish
"""

from dataclasses import dataclass

import typer

from megastyle_cli.core.choices import Shell
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class CompletionOptions:
    """Whose script is printed."""

    HEADING = "Input"

    shell: Shell = option(is_argument=True, metavar="SHELL", help="bash, zsh or fish.")


def main(context: typer.Context, options: CompletionOptions) -> int:
    import sys

    from megastyle_cli.cli.completion import command_tree, script

    group = context.find_root().command
    sys.stdout.write(script(options.shell, command_tree(group)))  # type: ignore[arg-type]
    return 0
