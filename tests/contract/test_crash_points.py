"""A command killed at any of its operations on files can be repeated, to the same bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from megastyle_cli.app import build
from tests.conftest import draw, jsonl
from tests.crash import crash_states

LEFT_OVER = (".tmp", ".partial", ".commit", ".owner")
Words = tuple[object, ...]


def dedup(folder: Path) -> Words:
    side = ("--rejected", folder / "gone.jsonl", "--report", folder / "groups.json")
    rest = ("--no-semantic", "--stats", folder / "stats.json", "--max-errors", 1)
    return ("dedup", folder / "in.jsonl", "-o", folder / "out.jsonl", *side, *rest)


def cluster(folder: Path) -> Words:
    side = ("--vectors", folder / "v.npy", "--page", folder / "page.html")
    flags = ("--levels", 2, "--max-errors", 1)
    return ("cluster", folder / "in.jsonl", "-o", folder / "out.jsonl", *flags, *side)


def retrieve_add(folder: Path) -> Words:
    return ("retrieve", "--index", folder / "index", "--add", folder / "pictures")


def run(words: list[object]) -> int:
    code: int = build(str(words[0])).run([*map(str, words), "-q"])
    return code


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the statistics, which have times, and what a killed run may leave."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in LEFT_OVER and path.name != "stats.json"
    }


@pytest.mark.parametrize(
    ("command", "last"),
    [(dedup, "out.jsonl"), (cluster, "out.jsonl"), (retrieve_add, "index/index.json")],
)
def test_a_command_killed_anywhere_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Path], Words], last: str
) -> None:
    whole = tmp_path / "whole"
    (whole / "pictures").mkdir(parents=True)
    for n in range(2):
        draw(n, 32).save(whole / "pictures" / f"{n}.png")
    records = [{"id": str(n), "style": f"in ink number {n // 2}"} for n in range(6)]
    jsonl(whole / "in.jsonl", [*records, {"id": "no text"}])

    states = crash_states(whole, lambda: run(command(whole)))

    monkeypatch.setattr(os, "fsync", lambda handle: None)  # what a process leaves needs no disk
    for folder in states:
        if not (folder / last).exists():
            assert run(command(folder)) == 0
        assert contents(folder) == contents(whole)
    assert (whole / last).exists()
