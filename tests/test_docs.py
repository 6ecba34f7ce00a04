"""What the documentation says is true: its tables are generated, its command lines run.

`python tests/test_docs.py` writes the generated tables of README.md.
"""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from megastyle_cli.app import COMMANDS, app
from megastyle_cli.completion import Command, Flag, command_tree

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TREE = {command.name: command for command in command_tree(app)}

# command -> what it reads, what it writes
FLOW = {
    "caption": ("pictures", "records with `style`, `content`, `style_*`"),
    "dedup": ("records", "the records that stay"),
    "cluster": ("records", "records with `cluster`, or a balanced choice of them"),
    "pair": ("style records, content records", "pair records"),
    "synth": ("pair records", "a folder of pictures with `metadata.jsonl`"),
    "retrieve": ("pictures", "records with `neighbors`"),
    "transfer": ("pictures", "a picture, or a folder of them with `metadata.jsonl`"),
    "eval": ("pictures, rendered or scored", "one summary, or records with `style_score`"),
}
SHARED_BY = 3  # a flag is in the table of flags if at least so many commands have it

Row = tuple[str, ...]


# The generated tables


def table(head: Row, rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def commands_table() -> str:
    """The commands in pipeline order: name, what it does, reads, writes."""
    rows = [(f"`{name}`", TREE[name].help, *FLOW[name]) for name in COMMANDS]
    return table(("command", "what it does", "reads", "writes"), rows)


def flags_table() -> str:
    """The flags that several commands have: spelling, meaning, on which commands."""
    found: dict[Row, tuple[Flag, list[str]]] = {}
    for name in COMMANDS:
        for flag in TREE[name].flags:
            found.setdefault(flag.names, (flag, []))[1].append(name)
    rows = [
        (f"`{f'{', '.join(flag.names)} {flag.value}'.strip()}`", flag.help, where(users))
        for flag, users in found.values()
        if len(users) >= SHARED_BY
    ]
    return table(("flag", "meaning", "on"), rows)


def where(users: list[str]) -> str:
    """The commands that have a flag, in words."""
    others = [name for name in COMMANDS if name not in users]
    if not others:
        return "all"
    return f"all but {', '.join(others)}" if len(others) < 3 else ", ".join(users)


def generated(text: str) -> str:
    """The README with its generated tables made anew."""
    for name, made in (("commands", commands_table()), ("flags", flags_table())):
        between = re.compile(rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = between.subn(lambda m, made=made: m[1] + made + m[2], text)  # type: ignore[misc]
        assert count == 1, f"README.md needs one pair of markers for {name}"
    return text


def test_the_tables_of_the_readme_are_those_of_the_commands() -> None:
    assert set(FLOW) == set(COMMANDS)
    assert README.read_text() == generated(README.read_text()), "run: make docs"


# Command lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with examples/, where `bin/megastyle` starts the package under test."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    executable(folder / "bin" / "megastyle", f'exec "{sys.executable}" -m megastyle_cli "$@"')
    return folder


def executable(path: Path, line: str) -> None:
    """Writes a shell script of one line."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def start(
    command: list[str], folder: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command in `folder`, with its `bin/` first on the PATH."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_command_line_of_the_readme_runs(folder: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 3

    for block in blocks:
        ended = start(["bash", "-euo", "pipefail", "-c", block], folder)
        assert ended.returncode == 0, block + ended.stderr

    for written in ("cat.png", "mixed.png", "half.png", "scores.json", "snow/metadata.jsonl"):
        assert (folder / written).stat().st_size > 0


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]

    assert links and missing == []


@pytest.mark.parametrize("name", TREE)
def test_the_examples_of_a_help_text_use_options_that_exist(name: str) -> None:
    lines = example_lines(name)
    assert len(lines) > 1

    for words in (words for line in lines for words in commands_of(line)):
        known = {spelling for flag in TREE[words[1]].flags for spelling in flag.names}
        used = {word.split("=")[0] for word in words[2:] if re.match("-.", word)}
        assert used <= known, f"{shlex.join(words)} has no {used - known}"


def example_lines(name: str) -> list[str]:
    """The example lines in the help of a command."""
    import typer

    help_text = str(typer.main.get_command(app).commands[name].help)  # type: ignore[attr-defined]
    return [line.strip() for line in help_text.splitlines() if re.match(r" +\S.*megastyle ", " " + line)]


def commands_of(line: str) -> list[list[str]]:
    """The words of each `megastyle ...` in a shell line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words[0] == "megastyle"]
