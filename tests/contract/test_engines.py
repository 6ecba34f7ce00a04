"""`--engine ray` of the commands: the bytes of `--engine local`, and what it refuses."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Runner, jsonl, needs_ray

JOB = Path(__file__).parents[2] / "examples" / "slurm" / "dedup_ray.sbatch"
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


# The Slurm job, with what Slurm does for a job of two nodes that are both this machine.

SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
for node in 0 1; do
  SLURM_NODEID=$node "$@" &
  tasks+=($!)
done
trap 'kill "${tasks[@]}"' TERM
wait
wait
echo ended >> step
"""
IDLE_SRUN = """#!/usr/bin/env bash
sleep 600 &
trap 'kill $!; echo ended >> step' TERM
touch started
wait
"""


def programs(folder: Path, **texts: str) -> Path:
    """A folder of programs, each a bash script."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text if text.startswith("#!") else f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def submitted(gallery: Path, **texts: str) -> "subprocess.CompletedProcess[bytes]":
    """The Slurm job, with these programs in the place of those on the PATH."""
    first = programs(gallery.parent / "bin", scontrol="echo localhost", **texts)
    env = {
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_JOB_NODELIST": "n[0-1]",
        "SLURM_JOB_ID": str(os.getpid()),  # the port comes from it
        "PATH": f"{first}:{os.environ['PATH']}",
    }
    return subprocess.run(
        ["bash", JOB, gallery, "out.jsonl", "--no-semantic", "-v"],
        cwd=gallery.parent,
        env={**os.environ, **env},
        capture_output=True,
        timeout=200,
        check=False,
    )


@needs_ray
def test_the_slurm_job_works_on_both_nodes_and_ends_them(gallery: Path, megastyle: Runner) -> None:
    folder = gallery.parent
    alone = megastyle("dedup", gallery, "--no-semantic", "-o", "alone.jsonl", cwd=folder)
    assert alone.returncode == 0

    job = submitted(
        gallery,
        srun=SRUN,
        python=f'exec "{sys.executable}" "$@"',
        ray=f'exec "{sys.executable}" -m ray.scripts.scripts "$@"',
        megastyle=f'exec "{sys.executable}" -m megastyle_cli "$@"',
    )

    assert job.returncode == 0, job.stderr.decode()
    assert b"Ray works on 2 nodes, 2 calls at once" in job.stderr
    assert (folder / "out.jsonl").read_bytes() == (folder / "alone.jsonl").read_bytes()
    assert (folder / "step").read_text() == "ended\n"
    assert not Path("/tmp", f"ray-{os.getpid()}").exists()


@pytest.mark.parametrize("code", [0, 2, 3])
def test_the_slurm_job_ends_as_its_command_does(code: int, gallery: Path) -> None:
    started = "until [ -e started ]; do sleep 0.1; done"

    job = submitted(gallery, srun=IDLE_SRUN, python=started, megastyle=f"exit {code}")

    assert job.returncode == code
    assert (gallery.parent / "step").read_text() == "ended\n"
