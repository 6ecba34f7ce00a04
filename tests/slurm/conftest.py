"""The cluster of the tests' session, and a folder to submit jobs from."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import draw
from tests.contract.tree import ROOT
from tests.slurm.lab import Lab, Task, obstacle, wait_until

PROGRAMS = {
    "megastyle": '-m megastyle_cli "$@"',
    "python": '"$@"',
    "ray": '-m ray.scripts.scripts "$@"',
    "accelerate": '-m accelerate.commands.accelerate_cli "$@"',
}

CAPTION = "examples/slurm/caption.sbatch"
SLOW = ("--kind", "style", "--backend", "tests.slurm.slow:SlowCaptioner", "--batch-size", "1")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if os.environ.get("MEGASTYLE_SLURM") != "1":
        pytest.skip("MEGASTYLE_SLURM=1 starts a Slurm cluster on this machine")
    if reason := obstacle():
        pytest.skip(reason)
    cluster = Lab()
    try:
        yield cluster
    finally:
        cluster.end()


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A working folder with examples/, logs/, and imgs/ of small pictures."""

    lab: Lab
    folder: Path

    def run(self, *command: object, **env: str) -> str:
        """The output of a command in this folder, on the cluster's login node."""
        return self.lab.run(*command, cwd=self.folder, **self._programs(env))

    def submit(self, *arguments: object, **env: str) -> int:
        """The number of the job that `sbatch ARGUMENTS` makes here."""
        return self.lab.submit(*arguments, cwd=self.folder, **self._programs(env))

    def preempt(self, node: str, seconds: int = 1) -> int:
        """Submits a job that takes a node from jobs of lower priority."""
        flags = ("-p", "high", "-w", node, "--exclusive", "-o", "/dev/null")
        return self.submit(*flags, "--wrap", f"sleep {seconds}")

    def log(self) -> str:
        """The logs of all jobs."""
        files = sorted((self.folder / "logs").iterdir())
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in files)

    def state(self) -> str:
        """What a failed test shows: the queue and the logs."""
        return self.lab.run("squeue", "--all") + self.lab.run("sinfo", "--Node") + self.log()

    def wait_while_running(self, job: int, is_true: Callable[[], bool]) -> None:
        """Waits for a condition that must hold before the job ends."""

        def holds() -> bool:
            assert not all(task.has_ended for task in self.lab.tasks(job)), self.state()
            return is_true()

        wait_until(holds, 120, self.state)

    def assert_completed(self, tasks: list[Task]) -> None:
        assert {(task.state, task.exit_code) for task in tasks} == {("COMPLETED", 0)}, (
            f"{tasks}\n{self.log()}"
        )

    def _programs(self, env: dict[str, str]) -> dict[str, str]:
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # for backends of the tests; a thread a process, since nodes share the machine's cores
        return {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env}


@pytest.fixture
def desk(lab: Lab, tmp_path: Path) -> Desk:
    return make_desk(lab, tmp_path, images=16)


def make_desk(lab: Lab, folder: Path, images: int) -> Desk:
    shutil.copytree(ROOT / "examples", folder / "examples")
    for name in ("bin", "logs", "imgs"):
        (folder / name).mkdir()
    for name, arguments in PROGRAMS.items():
        program = folder / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}\n')
        program.chmod(0o755)
    for seed in range(images):
        draw(seed).save(folder / "imgs" / f"{seed}.png")
    return Desk(lab=lab, folder=folder)


@pytest.fixture
def plain(desk: Desk) -> list[bytes]:
    """The lines that one process writes for imgs/."""
    plain = desk.folder / "plain" / "captions.jsonl"
    desk.run("megastyle", "caption", "imgs", *SLOW, "-q", "-o", plain)
    return lines_of(plain)


def lines_of(*files: Path) -> list[bytes]:
    """The sorted lines of files."""
    return sorted(line for file in files for line in file.read_bytes().splitlines(keepends=True))


def parts_of(folder: Path) -> list[Path]:
    """The finished parts in a folder of JSON lines."""
    return sorted(path for path in folder.glob("part-*.jsonl") if "errors" not in path.name)
