"""Trainings called in this process, in one of their own to be signalled, or in two as ranks."""

import multiprocessing
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from megastyle_cli.app import build
from tests import fork_server
from tests.conftest import lines

CLOCK = ("seconds", "images_per_s", "samples_per_s")


@dataclass(frozen=True)
class Ended:
    """How a call ended; as of a process."""

    returncode: int
    stdout: bytes
    stderr: bytes


@pytest.fixture
def train(capfdbinary: pytest.CaptureFixture[bytes]) -> "Iterator[object]":
    """Runs the command in this process, which has torch loaded: six seconds less a call."""

    def run(*arguments: object) -> Ended:
        AcceleratorState._reset_state(reset_partial_state=True)
        capfdbinary.readouterr()
        code = build(str(arguments[0]))([str(word) for word in arguments], standalone_mode=False)
        return Ended(code, *capfdbinary.readouterr())

    yield run
    AcceleratorState._reset_state(reset_partial_state=True)


def measured(run: Path) -> list[dict[str, float]]:
    """The metrics of each step without the clock's."""
    return [
        {key: value for key, value in line.items() if key not in CLOCK}
        for line in lines(run / "metrics.jsonl")
    ]


def has_made_a_step(run: Path) -> bool:
    """Whether the first line of metrics that holds a loss is there."""
    metrics = run / "metrics.jsonl"
    return metrics.exists() and '"loss": ' in metrics.read_text().replace('{"pairs', "")


def signal_after_a_step(command: Sequence[str], run: Path, number: int) -> tuple[int, str]:
    """Starts a training, signals it after its first step; its exit code and words."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = fork_server.start(*command, **streams)
    while started.poll() is None and not has_made_a_step(run):
        time.sleep(0.001)
    started.send_signal(number)
    _, words = started.communicate()
    return started.returncode, words.decode()


@contextmanager
def two_ranks(arguments: Sequence[str]) -> Iterator[list[multiprocessing.Process]]:
    """Two processes of one training, as a launcher would start them; they have torch loaded."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=_rank, args=(k, port, arguments)) for k in range(2)]
    for rank in ranks:
        rank.start()
    yield ranks
    for rank in ranks:
        rank.join()


def kill_after_a_step(ranks: Sequence[multiprocessing.Process], run: Path) -> None:
    """Kills both ranks at once after the first step."""
    while all(rank.is_alive() for rank in ranks) and not has_made_a_step(run):
        time.sleep(0.001)
    for rank in ranks:
        os.kill(rank.pid, signal.SIGKILL)


def _rank(rank: int, port: int, arguments: Sequence[str]) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
    }
    AcceleratorState._reset_state(reset_partial_state=True)
    code = build(str(arguments[0]))(list(arguments), standalone_mode=False)
    os._exit(code)
