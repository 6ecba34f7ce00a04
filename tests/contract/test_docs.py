"""What the documentation says is true: its tables are generated, its command lines run.

`python -m tests.contract.test_docs` writes the generated parts (`generated_docs.py`).
"""

import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.app import COMMANDS, build
from megastyle_cli.io.writers import parquet
from tests import fork_server
from tests.chat_server import serving
from tests.contract.generated_docs import FLOW, generated_files
from tests.contract.manuals import manuals
from tests.contract.tree import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUP = build("completion")
NOT_RUN = "# not run here: "  # the first line of a block that only a GPU, a server or a model runs


def name_of(document: Path) -> str:
    """A document's path in the repository."""
    return str(document.relative_to(ROOT))


# Generated parts


def test_the_tables_of_the_readme_are_those_of_the_commands() -> None:
    assert set(FLOW) == set(COMMANDS)
    made = generated_files()

    stale = [str(path.relative_to(ROOT)) for path, text in made.items() if _text(path) != text]

    assert stale == [], "run: make docs"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff here")
@pytest.mark.parametrize(
    "page", sorted((ROOT / "share" / "man" / "man1").iterdir()), ids=lambda page: page.stem
)
def test_a_man_page_renders_without_a_warning(page: Path) -> None:
    groff = ["groff", "-man", "-Tascii", "-ww", "-P-cbou", str(page)]  # plain, all warnings
    rendered = subprocess.run(groff, capture_output=True, text=True, check=False)

    assert (rendered.returncode, rendered.stderr) == (0, "")
    assert "NAME" in rendered.stdout and "EXIT STATUS" in rendered.stdout


def test_the_files_that_design_decisions_name_exist() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text()
    roots = (ROOT, ROOT / "megastyle_cli")
    folders = {folder.name for root in roots for folder in root.iterdir() if folder.is_dir()}
    paths = re.findall(r"`([a-z_]+/[a-z_/.]*)`", text)  # an example's are in no folder of ours
    named = [path for path in paths if path.partition("/")[0] in folders]

    assert len(named) > 10
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


# Command lines


def blocks_of(document: Path) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return re.findall(
        r"^```(\w*)[^\n]*\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE
    )


def shell_blocks(document: Path, run: bool) -> list[str]:
    """The blocks of shell commands that the tests run, or those that say why they do not."""
    blocks = [block for kind, block in blocks_of(document) if kind == "sh"]
    return [block for block in blocks if block.startswith(NOT_RUN) != run]


def is_run(document: Path) -> bool:
    """Whether its blocks are run; pages of commands show examples with files of the reader's."""
    return document.parent.name != "commands" and bool(shell_blocks(document, run=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with examples/, where `bin/megastyle` starts the package under test."""
    return working_folder(tmp_path_factory.mktemp("docs"))


def working_folder(folder: Path) -> Path:
    shutil.copytree(ROOT / "examples", folder / "examples")
    fork_server.write_program(folder / "bin" / "megastyle")
    return folder


def executable(path: Path, line: str) -> None:
    """Writes a shell script of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def start(command: list[str], folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in `folder`, with its `bin/` first on the PATH."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("document", list(filter(is_run, DOCUMENTS)), ids=name_of)
def test_the_command_lines_of_a_document_run(document: Path, tmp_path: Path) -> None:
    folder = working_folder(tmp_path)

    for block in shell_blocks(document, run=True):
        ended = start(["bash", "-euo", "pipefail", "-c", block], folder)
        assert ended.returncode == 0, block + ended.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_command_lines_of_a_document_have_options_that_exist(document: Path) -> None:
    for block in (block for kind, block in blocks_of(document) if kind == "sh"):
        for words in commands_of(block):
            GROUP.built[words[1]].make_context(words[1], words[2:])  # raises UsageError


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_no_command_line_hides_from_the_tests(document: Path) -> None:
    others = [block for kind, block in blocks_of(document) if kind != "sh"]

    lines = [line for block in others for line in block.splitlines()]
    assert [line for line in lines if re.match("(\\$ )?megastyle .*(?<!OPTIONS])$", line)] == []


def recipe(document: str, word: str) -> str:
    """The command lines of the block that says `word` and is not run as it is."""
    blocks = shell_blocks(ROOT / "docs" / document, run=False)
    (block,) = [block for block in blocks if word in block]
    return block


def test_the_recipe_for_captions_runs_against_a_server(folder: Path) -> None:
    shutil.copytree(folder / "examples" / "pictures" / "styles", folder / "served" / "imgs")
    with serving() as server:
        block = recipe("models.md", "--judge").replace("http://localhost:8000/v1", server.url)
        lines = "".join(line for line in block.splitlines(True) if line.startswith("megastyle"))
        ended = start(["bash", "-euo", "pipefail", "-c", f"cd served\n{lines}"], folder)

    assert lines.count("megastyle") == 2 and ended.returncode == 0, ended.stderr
    judged = (folder / "served" / "judged.jsonl").read_text().splitlines()
    assert len(judged) > 3 and all("judge" in json.loads(line)["_megastyle"] for line in judged)


def test_the_recipe_for_the_releases_reads_their_layout(folder: Path) -> None:
    release = folder / "MegaStyle-1.4M"
    release.mkdir()
    pictures = sorted((folder / "examples" / "pictures" / "contents").glob("*.jpg"))
    for shard in range(2):
        rows = (
            (
                {
                    "id": f"s{row // 8 + 1}_c{row}",
                    "content": f"Frog {row}",
                    "style": f"In {row // 8}.",
                },
                pictures[row % len(pictures)].read_bytes(),
            )
            for row in range(16 * shard, 16 * shard + 16)
        )
        with (release / f"train-{shard:05}.parquet").open("wb") as file:
            parquet.write(file, rows)

    ended = start(
        ["bash", "-euo", "pipefail", "-c", recipe("official.md", "released-styles.jsonl")], folder
    )

    assert ended.returncode == 0, ended.stderr
    styles = (folder / "released-styles.jsonl").read_text().splitlines()
    assert [json.loads(line)["style"] for line in styles] == [f"In {n}." for n in range(4)]
    assert json.loads((folder / "released-scores.json").read_text())["n"] == 32


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[)#]", document.read_text())
    files = [document.parent / link for link in links if "://" not in link]

    assert [file for file in files if not file.exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)

    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("name", GROUP.built)
def test_the_examples_of_a_help_text_have_options_that_exist(name: str) -> None:
    lines = manuals()[name].examples
    assert len(lines) > 1

    for words in commands_of("\n".join(lines)):
        GROUP.built[words[1]].make_context(words[1], words[2:])


def commands_of(script: str) -> list[list[str]]:
    """The words of each `megastyle ...` in a script; after `--` stands another command."""
    one_line = re.sub(r"\\\n|(^|\s)#.*$", "", script, flags=re.MULTILINE).replace("\n", " ; ")
    lexer = shlex.shlex(one_line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "--":
            found.append(["megastyle"])
        elif set(word) <= set("|&;<>"):
            found.append([])
        else:
            found[-1].append(word)
    calls = [words for words in found if words[:1] == ["megastyle"]]
    # after a launcher, such as `srun megastyle` or `accelerate launch -m megastyle_cli`
    calls += [
        words[at:]
        for words in found
        for at, (word, command) in enumerate(pairwise(words))
        if at > 0 and word in ("megastyle", "megastyle_cli") and command in GROUP.built
    ]
    return [words for words in calls if words[1:] and not words[1].startswith("-")]


# Examples


DEMO = {"DEMO_STYLES": "3", "DEMO_CONTENTS": "4", "PER_STYLE": "2", "SIZE": "96"}


def assert_is_a_demo(out: Path) -> None:
    """Whether the pipeline has written a page, a sheet and scores."""
    assert "<html" in (out / "index.html").read_text()
    with Image.open(out / "sheet.png") as sheet:
        sheet.load()
    assert json.loads((out / "scores.json").read_text())["n"] == 3 * 2


def test_the_pipeline_ends_with_a_page_a_sheet_and_scores(folder: Path) -> None:
    ended = start(["examples/pipeline.sh", "by-sh"], folder, **DEMO)

    assert ended.returncode == 0, ended.stderr
    assert_is_a_demo(folder / "by-sh")


def test_make_does_the_same_and_nothing_the_second_time(folder: Path) -> None:
    command = ["make", "-f", "examples/pipeline.mk", "OUT=by-mk"]
    first = start(command, folder, **DEMO)

    assert first.returncode == 0, first.stderr
    assert_is_a_demo(folder / "by-mk")
    assert start([*command, "--question"], folder, **DEMO).returncode == 0
    (folder / "by-mk" / "contents.jsonl").touch()
    assert start([*command, "--question"], folder, **DEMO).returncode == 1


FAKE_VLLM = """
import sys, threading
from tests.chat_server import serving

model, port = sys.argv[2], int(sys.argv[sys.argv.index("--port") + 1])
with serving(models=[model], port=port):
    threading.Event().wait()
"""


def test_the_vllm_example_captions_and_stops_its_server(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "fake_vllm.py").write_text(FAKE_VLLM)
    line = f'PYTHONPATH="{ROOT}" exec "{sys.executable}" fake_vllm.py "$@"'
    executable(folder / ".vllm" / "bin" / "vllm", line)

    command = ["examples/vllm_server.sh", "examples/pictures/styles", "by-vllm.jsonl"]
    ended = start([*command, "--limit", "3"], folder, PORT=str(port), MODEL="tiny")

    assert ended.returncode == 0, ended.stderr
    records = [json.loads(line) for line in (folder / "by-vllm.jsonl").read_text().splitlines()]
    assert [record["_megastyle"]["caption"]["model"] for record in records] == ["tiny"] * 3
    with socket.socket() as refused, pytest.raises(ConnectionRefusedError):
        refused.connect(("127.0.0.1", port))


def test_the_vllm_example_ends_with_the_log_of_a_server_that_does_not_start(folder: Path) -> None:
    executable(folder / "broken" / "bin" / "vllm", "echo no GPU here; exit 3")

    command = ["examples/vllm_server.sh", "examples/pictures/styles", "none.jsonl"]
    ended = start(command, folder, PORT="9", VLLM_ENV="broken")

    assert ended.returncode == 1 and "no GPU here" in ended.stderr
    assert not (folder / "none.jsonl").exists()


# The repository


def test_no_file_names_a_folder_of_one_machine_or_a_package_registry() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0 or not listing.stdout:
        pytest.skip("not a git checkout")
    hosts = (rb"pypi\.org", rb"pythonhosted\.org", rb"npmjs\.org", rb"download\.pytorch\.org")
    local = rb"(?<![\w.~})])/(?:work|home|root|tmp|Users)/"
    banned = re.compile(b"|".join([local, *hosts, rb"deb\.debian\.org"]))

    paths = [ROOT / os.fsdecode(name) for name in listing.stdout.split(b"\0") if name]
    found = {
        str(path.relative_to(ROOT)): match[0]
        for path in paths
        if path.is_file() and (match := banned.search(path.read_bytes()))
    }

    assert found == {}


if __name__ == "__main__":
    for path, text in generated_files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
