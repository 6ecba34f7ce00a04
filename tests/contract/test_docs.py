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
from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.app import COMMANDS, build
from megastyle_cli.cli.completion import command_tree
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.writers import parquet
from tests import fork_server
from tests.chat_server import serving
from tests.conftest import draw, lines
from tests.contract.generated_docs import FLOW, generated_files
from tests.contract.tree import ROOT

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GROUP = build("completion")
TREE = {command.name: command for command in command_tree(GROUP)}


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


def test_the_files_that_design_decisions_name_exist() -> None:
    text = (ROOT / "docs" / "decisions.md").read_text()
    named = re.findall(r"`([a-z_]+/[a-z_/.]*)`", text)

    assert len(named) > 10
    roots = (ROOT, ROOT / "megastyle_cli")
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []


# Command lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with examples/, where `bin/megastyle` starts the package under test."""
    folder = tmp_path_factory.mktemp("docs")
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


def test_every_command_line_of_the_readme_runs(folder: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 3

    for block in blocks:
        ended = start(["bash", "-euo", "pipefail", "-c", block], folder)
        assert ended.returncode == 0, block + ended.stderr

    for written in (
        "cat.png",
        "mixed.png",
        "camera.png",
        "half.png",
        "scores.json",
        "snow/metadata.jsonl",
    ):
        assert (folder / written).stat().st_size > 0


def recipe(word: str) -> str:
    """Our command lines in the block of the README that says `word` and is not run as it is."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [block for kind, block in blocks if kind == "" and word in block]
    return "".join(line for line in block.splitlines(True) if line.startswith("megastyle"))


def test_the_recipe_for_captions_runs_against_a_server(folder: Path) -> None:
    shutil.copytree(folder / "examples" / "pictures" / "styles", folder / "served" / "imgs")
    with serving() as server:
        lines = recipe("--base-url").replace("http://localhost:8000/v1", server.url)
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

    ended = start(["bash", "-euo", "pipefail", "-c", recipe("MegaStyle-1.4M")], folder)

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
def test_the_examples_of_a_help_text_use_options_that_exist(name: str) -> None:
    lines = example_lines(name)
    assert len(lines) > 1

    for words in (words for line in lines for words in commands_of(line)):
        known = {spelling for flag in TREE[words[1]].flags for spelling in flag.spellings}
        used = {word.split("=")[0] for word in words[2:] if re.match("-.", word)}
        assert used <= known, f"{shlex.join(words)} has no {used - known}"


def example_lines(name: str) -> list[str]:
    """The example lines in the help of a command."""
    return [line.strip() for line in GROUP.built[name].description.examples]


def commands_of(line: str) -> list[list[str]]:
    """The words of each `megastyle ...` in a shell line; after `--` stands another command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "--":
            found.append(["megastyle"])
        elif set(word) <= set("|&;<>"):
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words[0] == "megastyle"]


# Examples


DEMO = {"DEMO_STYLES": "3", "DEMO_CONTENTS": "4", "PER_STYLE": "2", "SIZE": "96"}


@pytest.mark.parametrize(
    ("command", "out"),
    [
        (["examples/pipeline.sh", "by-sh"], "by-sh"),
        (["make", "-f", "examples/pipeline.mk", "OUT=by-mk"], "by-mk"),
    ],
)
def test_the_pipeline_ends_with_a_page_a_sheet_and_scores(
    command: list[str], out: str, folder: Path
) -> None:
    ended = start(command, folder, **DEMO)

    assert ended.returncode == 0, ended.stderr
    assert "<html" in (folder / out / "index.html").read_text()
    with Image.open(folder / out / "sheet.png") as sheet:
        sheet.load()
    assert json.loads((folder / out / "scores.json").read_text())["n"] == 3 * 2


def test_make_does_nothing_the_second_time(folder: Path) -> None:
    command = ["make", "-f", "examples/pipeline.mk", "OUT=twice", "twice/pairs.jsonl"]
    first = start(command, folder, **DEMO)
    assert first.returncode == 0, first.stderr

    assert start([*command, "--question"], folder, **DEMO).returncode == 0
    (folder / "twice" / "contents.jsonl").touch()
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


# the arrays; tests/training/common/test_distributed.py runs the training's job on two nodes
JOBS = [
    job
    for job in sorted((ROOT / "examples" / "slurm").glob("*.sbatch"))
    if "--array" in job.read_text()
]
TASK = {"SLURM_ARRAY_JOB_ID": "36", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "36"}


@pytest.fixture
def cluster(folder: Path) -> Path:
    """`folder` with `srun` that starts its command here and `scontrol` that notes its own."""
    executable(folder / "bin" / "srun", 'exec "$@"')
    executable(folder / "bin" / "scontrol", 'echo "$@" >> requeued')
    (folder / "requeued").write_text("")
    return folder


@pytest.mark.parametrize(
    ("job", "flags", "listing"),
    [
        ("caption", [], "part-00003-of-00064.jsonl"),
        ("synth", ["--size", "32"], "part-00003-of-00064/metadata.jsonl"),
    ],
)
def test_a_job_writes_the_share_of_its_task(
    job: str, flags: list[str], listing: str, cluster: Path
) -> None:
    one, two = "examples/pictures/styles/lion.jpg", "examples/pictures/contents/owl.jpg"
    pictures = {"file_name": two, "style_file_name": one, "content_file_name": two}
    records = [{"id": f"r{n}", **pictures} for n in range(200)]
    (cluster / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    owner = Shard(index=3, count=64)

    script = f"examples/slurm/{job}.sbatch"
    ended = start(["bash", script, "records.jsonl", f"{job}-parts", *flags], cluster, **TASK)

    assert ended.returncode == 0, ended.stderr
    written = (cluster / f"{job}-parts" / listing).read_text().splitlines()
    owned = [record["id"] for record in records if owner.owns(record["id"])]
    assert [json.loads(line)["id"] for line in written] == owned != []
    assert (cluster / "requeued").read_text() == ""


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (75, "requeue 36_3\n")])
def test_the_recipe_for_an_array_is_a_job(
    code: int, requeued: str, cluster: Path, tmp_path: Path
) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = [block for _, block in blocks if "#SBATCH --array" in block]
    (tmp_path / "imgs").mkdir()
    owner = Shard(index=3, count=64)
    for seed in range(200):
        draw(seed, 16, 16 + seed).save(tmp_path / "imgs" / f"{seed}.png")
    if code:
        executable(cluster / "bin" / "srun", f"exit {code}")

    ended = start(["bash", "-c", f"cd '{tmp_path}'\n{block}"], cluster, **TASK)

    queued = tmp_path / "requeued"
    assert (ended.returncode, queued.read_text() if queued.exists() else "") == (code, requeued)
    if code == 0:
        written = lines(tmp_path / "captions" / "part-00003-of-00064.jsonl")
        assert written and all(owner.owns(record["id"]) for record in written)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
@pytest.mark.parametrize(("code", "requeued"), [(75, "requeue 36_3\n"), (3, "")])
def test_a_job_is_queued_again_only_if_it_was_stopped(
    job: Path, code: int, requeued: str, cluster: Path
) -> None:
    executable(cluster / "bin" / "srun", f"exit {code}")

    ended = start(["bash", str(job), "in", "out"], cluster, **TASK)

    assert (ended.returncode, (cluster / "requeued").read_text()) == (code, requeued)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_a_job_asks_for_the_array_that_it_counts_on(job: Path) -> None:
    text = job.read_text()
    last = re.search(r"^#SBATCH --array=0-(\d+)$", text, re.MULTILINE)
    count = re.search(r"^shards=(\d+) ", text, re.MULTILINE)

    assert last and count and int(last[1]) + 1 == int(count[1])
    assert "#SBATCH --signal=USR1@120\n" in text and "#SBATCH --requeue\n" in text


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
