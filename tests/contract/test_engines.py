"""`--engine ray` of the commands: the bytes of `--engine local`, and what it refuses."""

import random
from pathlib import Path

import pytest

from tests.conftest import Runner, jsonl, needs_ray

WORDS = ["dim", "soft", "bold", "flat", "warm", "raw", "ink", "wash", "line", "glow", "edge"]


def prompts(folder: Path, count: int) -> Path:
    """Style prompts of which some repeat others, exactly or but for a word."""
    draw = random.Random(0)
    texts: list[str] = []
    for _ in range(count):
        words = [draw.choice(WORDS) + draw.choice(WORDS) for _ in range(12)]
        if texts and draw.random() < 0.3:
            words = draw.choice(texts).split(", ")
            words[draw.randrange(12)] = draw.choice([words[0], draw.choice(WORDS)])
        texts.append(", ".join(words))
    records = [{"id": f"r{row}", "style": text} for row, text in enumerate(texts)]
    return jsonl(folder / "prompts.jsonl", records)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return prompts(tmp_path, 3000)


COMMANDS = {
    "dedup": ["dedup", "--rejected", "gone.jsonl"],
    "cluster": ["cluster", "--levels", "30,6", "--sample", "500"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_ray_and_local_write_the_same_bytes(
    command: str, gallery: Path, megastyle: Runner, ray_cluster: dict[str, str]
) -> None:
    written = []
    for engine in (["local", "--workers", "1"], ["ray"]):
        done = megastyle(
            *COMMANDS[command],
            *(gallery, "-o", "out.jsonl", "--overwrite", "--engine", *engine),
            cwd=gallery.parent,
            **ray_cluster,
        )
        assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()
        files = sorted(path for path in gallery.parent.glob("*.jsonl") if path != gallery)
        written.append([(path.name, path.read_bytes()) for path in files])

    assert written[0] == written[1]
    assert written[0][-1][1].count(b"\n") > 100


@pytest.mark.parametrize("command", COMMANDS)
def test_the_number_of_workers_changes_no_byte(
    command: str, gallery: Path, megastyle: Runner
) -> None:
    done = [
        megastyle(command, gallery, "--workers", workers, cwd=gallery.parent)
        for workers in ("1", "3")
    ]

    assert done[0].returncode == 0 and done[0].stdout.count(b"\n") > 100
    assert done[0].stdout == done[1].stdout


@needs_ray
@pytest.mark.parametrize("command", COMMANDS)
def test_ray_refuses_standard_input(command: str, megastyle: Runner) -> None:
    done = megastyle(command, "-", "--engine", "ray", stdin=b"")

    assert done.returncode == 2 and b"cannot read standard input" in done.stderr


@needs_ray
@pytest.mark.parametrize("command", COMMANDS)
def test_ray_refuses_a_launch_of_many_processes(
    command: str, gallery: Path, megastyle: Runner
) -> None:
    done = megastyle(command, gallery, "--engine", "ray", RANK="0", WORLD_SIZE="2")

    assert done.returncode == 2 and b"without accelerate" in done.stderr
