"""Streams work wherever a command reads or writes a file, and stay what they are.

The walk is over the declarations (core/option.py): an output option without a case here fails.
Nothing in /dev is written to: every stream is a FIFO of the test's own.
"""

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from megastyle_cli.app import COMMANDS, build
from megastyle_cli.core.option import Option, declared_options
from tests.benchmark.test_results_table import results
from tests.conftest import draw, jsonl, lines
from tests.streams import read_while, written_while

NAMES_FILES = re.compile("INPUT|PATH|DIR|IMAGE|FILE|CONFIG")
RECORDS = [
    {
        "id": f"r{n}",
        "style_id": "s",
        "style": f"ink {n} on paper",
        "content": f"fox {n}",
        **dict.fromkeys(("file_name", "style_file_name", "content_file_name"), f"imgs/{n}.png"),
    }
    for n in range(3)
]
# Per command a run, without its outputs; the records are in the working directory.
RUNS = {
    "caption": "imgs",
    "dedup": "records.jsonl --no-semantic",
    "cluster": "records.jsonl --levels 2 --device cpu",
    "pair": "records.jsonl --contents records.jsonl",
    "synth": "records.jsonl --size 32 --reject-blank",
    "retrieve": "imgs --index imgs",
    "transfer": "--style imgs/0.png --content imgs/1.png --size 32",
    "eval": "records.jsonl",
}
FOLDERS = ("synth",)  # -o is a folder
OF_MANY = "records.jsonl --style imgs/0.png --size 32 -o many"  # transfer to a folder
# by other commands, which make folders and end with the same statistics
TRAININGS = {"train-encoder", "train-flux"}


def options_of(command: str) -> Iterator[tuple[str, Option]]:
    """Every option of a command: its flag and declaration."""
    main = import_module(f"megastyle_cli.commands.{command.replace('-', '_')}").main
    for group in get_type_hints(main).values():
        if is_dataclass(group):
            for field, declared in declared_options(group):
                flag = next((flag for flag in declared.flags if flag.startswith("--")), "")
                yield flag or f"--{field.name.replace('_', '-')}", declared


def outputs_of(command: str) -> list[str]:
    return [flag for flag, declared in options_of(command) if declared.file == "output"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    (folder / "imgs").mkdir()
    for n in range(3):
        draw(n).save(folder / "imgs" / f"{n}.png")
    jsonl(folder / "records.jsonl", RECORDS)
    return folder


def ended(command: str, words: Any) -> int:
    return int(build(command).run([command, *map(str, words)]) or 0)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_names_files_says_what_for(command: str) -> None:
    for flag, declared in options_of(command):
        assert bool(declared.file) == bool(NAMES_FILES.search(declared.metavar or "")), flag


def test_every_command_runs_below() -> None:
    assert {*RUNS, *TRAININGS} == set(COMMANDS), "add the new command to RUNS"


@pytest.mark.parametrize("command", RUNS)
def test_outputs_to_fifos_arrive_and_nothing_is_made_beside_them(
    command: str, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    flags = outputs_of(command)
    if command == "transfer":  # one picture has no other outputs
        flags = ["--output"]
    if command == "eval":  # a table is of systems: below
        flags.remove("--table")
    fifos = {flag: Path(f"{command}{flag}.fifo") for flag in flags}
    words = [*RUNS[command].split(), *(word for pair in fifos.items() for word in pair)]
    words += ["-o", f"{command}-out"] if command in FOLDERS else []
    before = set(Path().rglob("*"))

    with read_while(*fifos.values()) as received:
        code = ended(command, words)

    assert code == 0, capsys.readouterr().err
    assert all(path.is_fifo() for path in fifos.values())
    for flag, path in fifos.items():
        assert bool(received[path]) == (flag not in ("--errors", "--rejected", "--rejects")), flag
    after = {path for path in Path().rglob("*") if f"{command}-out" not in path.parts}
    assert after == before | set(fifos.values())


def test_the_table_and_page_of_a_benchmark_may_be_fifos(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    jsonl(made / "results.jsonl", results(6))
    flags = ("--output", "--table", "--page", "--stats")
    fifos = {flag: Path(f"systems{flag}.fifo") for flag in flags}

    with read_while(*fifos.values()) as received:
        code = ended("eval", ["results.jsonl", *(w for pair in fifos.items() for w in pair)])

    assert code == 0, capsys.readouterr().err
    assert all(received[path] and path.is_fifo() for path in fifos.values())


def test_outputs_beside_a_folder_of_pictures_may_be_fifos(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    flags = [flag for flag in outputs_of("transfer") if flag != "--output"]
    fifos = {flag: Path(f"many{flag}.fifo") for flag in flags}

    with read_while(*fifos.values()) as received:
        code = ended("transfer", [*OF_MANY.split(), *(w for pair in fifos.items() for w in pair)])

    assert code == 0, capsys.readouterr().err
    assert {flag for flag, path in fifos.items() if received[path]} == {*flags} - {"--errors"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("dedup", "{} --no-semantic"),
        ("cluster", "{} --levels 2 --device cpu"),
        ("pair", "records.jsonl --contents {}"),
        ("caption", "{}"),
        ("retrieve", "{} --index imgs"),
        ("retrieve", "imgs --index {}"),
        ("eval", "{}"),
        ("eval", "imgs --reference {} --each"),
        ("eval", "imgs --reference imgs --others {} --each"),
        ("transfer", "{} --style imgs/0.png --size 32 -o {out}"),
    ],
)
def test_a_fifo_is_read_once_as_json_lines(
    command: str,
    words: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(made)
    with written_while(tmp_path / "fifo", Path("records.jsonl").read_bytes()) as fifo:
        code = ended(command, words.format(fifo, out=tmp_path / "out").split())

    stderr = capsys.readouterr().err
    assert code == 0 and "3 in" in stderr and "0 failed" in stderr, stderr


def test_a_link_stays_and_its_target_is_replaced(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("far").mkdir()
    names = ("out.jsonl", "stats.json", "report.json", "rejected.jsonl")
    for name in names:
        Path("far", name).write_text("old")
        Path(name).symlink_to(f"far/{name}")
    flags = zip(("-o", "--stats", "--report", "--rejected"), names, strict=True)
    words = [made / "records.jsonl", "--no-semantic", *(word for pair in flags for word in pair)]

    assert ended("dedup", [*words, "--overwrite"]) == 0

    assert all(Path(name).is_symlink() for name in names)
    assert [record["id"] for record in lines(Path("far/out.jsonl"))] == ["r0", "r1", "r2"]
    assert not any(Path("far", name).read_text() == "old" for name in names)


def test_a_picture_that_is_a_fifo_fails_at_once(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with read_while(tmp_path / "f.png"):
        for record in ({"file_name": "f.png"}, {"id": "a", "file_name": "f.png"}):
            listing = jsonl(tmp_path / "list.jsonl", [record])
            assert ended("caption", [listing, "--kind", "style"]) == 3
            assert "f.png is not a regular file" in capsys.readouterr().err


def test_a_folder_is_not_replaced_by_a_file(made: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "photo.png").touch()
    words = [made / "records.jsonl", "--no-semantic", "-o", tmp_path / "x.jsonl"]
    for flag in ("--stats", "--report", "--rejected", "-o"):
        assert ended("dedup", [*words, flag, tmp_path / "kept", "--overwrite"]) == 2
    assert (tmp_path / "kept" / "photo.png").exists()
