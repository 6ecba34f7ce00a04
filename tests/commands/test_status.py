"""`status` prints a table, JSON or a list of tasks, and its exit code says whether all is done."""

import json
from pathlib import Path

import pytest

from tests.conftest import Runner, draw, jsonl, lines


@pytest.fixture
def parts(tmp_path: Path, megastyle: Runner) -> Path:
    """A folder of two of three parts, of records of which one fails."""
    draw(1).save(tmp_path / "a.png")
    pair = {"style_file_name": "a.png", "content_file_name": "a.png"}
    records = [{"id": str(n), **pair} for n in range(9)]
    source = jsonl(tmp_path / "in.jsonl", [*records, {"id": "bad"}])
    for index in (0, 2):
        flags = ("--size", 32, "--max-errors", 1, "--shard", f"{index}/3")
        made = megastyle("synth", source, "-o", tmp_path / "out", *flags)
        assert made.returncode == 0, made.stderr.decode()
    return tmp_path / "out"


def test_parts_are_told_until_all_are_done(parts: Path, megastyle: Runner) -> None:
    ended = megastyle("status", parts)
    array = megastyle("status", parts, "--array")

    found = lines(ended.stdout)
    assert [part["state"] for part in found] == ["done", "missing", "done"]
    assert ended.returncode == array.returncode == 75 and array.stdout == b"1\n"
    assert found[0]["records"] == len(lines(parts / "part-00000-of-00003" / "metadata.jsonl"))

    source = parts.parent / "in.jsonl"
    flags = ("--size", 32, "--max-errors", 1, "--shard", "1/3")
    assert megastyle("synth", source, "-o", parts, *flags).returncode == 0
    ended = megastyle("status", parts, "--json")
    array = megastyle("status", parts, "--array")
    assert ended.returncode == array.returncode == 0 and array.stdout == b""
    assert sum(part["records"] for part in lines(ended.stdout)) == 9
    assert sum(part["failed"] for part in lines(ended.stdout)) == 1


def test_several_outputs_are_told_together(tmp_path: Path, megastyle: Runner) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        jsonl(tmp_path / name, [{"id": "x"}])

    ended = megastyle("status", tmp_path / "a.jsonl", tmp_path / "b.jsonl")

    assert ended.returncode == 0
    assert [json.loads(line)["records"] for line in ended.stdout.splitlines()] == [1, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), b"no output is named"),
        (("none.jsonl",), b"does not exist"),
        (("a.jsonl", "--array"), b"--array takes one folder of parts"),
    ],
)
def test_what_cannot_be_told_is_a_usage_error(
    tmp_path: Path, megastyle: Runner, words: tuple[str, ...], message: bytes
) -> None:
    jsonl(tmp_path / "a.jsonl", [{"id": "x"}])

    ended = megastyle("status", *words, cwd=tmp_path)

    assert ended.returncode == 2 and message in ended.stderr and ended.stdout == b""
