"""Runs trainings in this process, in a process of its own to be signalled, or as two ranks."""

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from megastyle_cli.app import build
from tests import fork_server
from tests.conftest import lines

LOST_RANK = (
    "error: another process of this run has ended\n"
    "       Its own message says why; the same command with --resume continues\n"
)
EVERY_STEP = ("--checkpoint-every", "1")  # for a run that is killed
CLOCK = ("seconds", "images_per_s", "samples_per_s")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command that ran in this process."""

    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def train(capfdbinary: pytest.CaptureFixture[bytes]) -> "Iterator[object]":
    """Runs a command in this process: torch is loaded already, which saves six seconds per call."""

    def run(*arguments: object) -> CommandResult:
        AcceleratorState._reset_state(reset_partial_state=True)
        capfdbinary.readouterr()
        code = build(str(arguments[0])).run([str(word) for word in arguments])
        return CommandResult(code, *capfdbinary.readouterr())

    yield run
    AcceleratorState._reset_state(reset_partial_state=True)


def metrics_of(run: Path) -> list[dict[str, float]]:
    """The lines of metrics without those that depend on the clock."""
    return [
        {key: value for key, value in line.items() if key not in CLOCK}
        for line in lines(run / "metrics.jsonl")
    ]


def has_made_a_step(run: Path, before: int = 0) -> bool:
    """Whether a line of metrics with a training loss has been written after the first `before`."""
    metrics = run / "metrics.jsonl"
    if not metrics.exists():
        return False
    written = metrics.read_text().replace('{"pairs', "").splitlines()
    return any('"loss": ' in line for line in written[before:])


def signal_after_a_step(command: Sequence[str], run: Path, number: int) -> tuple[int, str]:
    """Starts a training, signals it after its first step; its exit code and stderr."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = fork_server.start(*command, **streams)
    while started.poll() is None and not has_made_a_step(run):
        time.sleep(0.01)
    started.send_signal(number)
    _, stderr = started.communicate()
    return started.returncode, stderr.decode()


def start_ranks(
    arguments: Sequence[object],
    stream: int | None = None,
    world: int = 2,
    stdin: int | None = None,
) -> "list[subprocess.Popen[bytes] | fork_server.ForkedProcess]":
    """The processes of one training, as a launcher starts them; their output goes to `stream`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    sizes = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    sizes["ACCELERATE_USE_CPU"] = "true"
    return [
        fork_server.start(
            *arguments,
            **{"stdin": stdin, "stdout": stream, "stderr": stream},
            **{"RANK": rank, "LOCAL_RANK": rank},
            **sizes,
            **address,
        )
        for rank in map(str, range(world))
    ]


def kill_one_after_a_step(
    ranks: "Sequence[subprocess.Popen[bytes] | fork_server.ForkedProcess]", run: Path
) -> list[tuple[int | None, str]]:
    """Kills the last rank after the first step; exit codes and stderr of the others."""
    while all(rank.poll() is None for rank in ranks) and not has_made_a_step(run):
        time.sleep(0.01)
    *others, last = ranks
    last.kill()
    words = [rank.communicate()[1].decode() for rank in ranks]
    return [(rank.returncode, stderr) for rank, stderr in zip(others, words, strict=False)]
