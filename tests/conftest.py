"""Pictures drawn on the spot and a runner that starts the real command in a process of its own."""

import gc
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

from megastyle_cli.compute.jit import (
    MAX_PLAIN_RECORDS,
    cache_folder,
    choose_by_size,
    is_anything_kept,
)
from megastyle_cli.core import limits
from megastyle_cli.core.owner import WAIT_VARIABLE
from megastyle_cli.doctor.prepare import COMMANDS
from tests import fork_server
from tests.scheduling import GroupScheduling, rank_of

# not importorskip: Ray reads its environment once, when it is imported
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")

Runner = Callable[..., subprocess.CompletedProcess[bytes]]

gc.disable()  # until all tests are collected: looking for garbage is a tenth of importing

# Generated examples are the same in every run, and no test is timed.
settings.register_profile("tests", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    """One fork server for all processes of pytest-xdist: it imports while they collect."""
    if getattr(config.option, "numprocesses", None):
        fork_server.share_server()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank_of(item.nodeid))


def pytest_collection_finish() -> None:
    """Takes what was imported out of what is looked through again and again.

    That is garbage collection, a tenth of the time of tests of models, and the table of loggers,
    which pytest reads six times a test: those of single modules of libraries are not needed there.
    """
    table = logging.root.manager.loggerDict
    for name in list(table):
        if "." in name and not name.startswith("megastyle_cli"):
            del table[name]
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)  # as the commands do
    gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """Logging as an import leaves it: tests and their fixtures may run commands in this process."""
    log = logging.getLogger("megastyle_cli")
    log.propagate, log.handlers[:] = True, []
    log.setLevel(logging.NOTSET)  # not by `level`, which keeps what is cached for the loggers below
    yield


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An output that another process writes is refused at once."""
    monkeypatch.setenv(WAIT_VARIABLE, "0")


@pytest.fixture(autouse=True)
def compiled_code() -> None:
    """Compiled code runs as such: a command in this process may have chosen plain Python."""
    choose_by_size(MAX_PLAIN_RECORDS + 1)


# Runs a module, and prints the files of machine code that it opens.
OPENS = """
import runpy, sys
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith(".numba"):
        print(arguments[0])
sys.addaudithook(note)
runpy.run_module(sys.argv[1], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="session")
def compiled_ahead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache that `prepare` fills: all compiled code, and nothing else.

    What is compiled already, which takes most of a minute, is copied: that which `prepare` reads.
    """
    cache = tmp_path_factory.mktemp("compiled")
    installed = cache_folder()
    copied = (
        {shutil.copy(file, cache) for file in installed.glob("*.numba")} if installed else set()
    )
    opened = set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(cache))
        for *_, module in COMMANDS:
            command = [sys.executable, "-c", OPENS, module]
            opened |= set(subprocess.check_output(command, text=True).splitlines())
        assert is_anything_kept()
    for file in {str(file) for file in copied} - opened:
        Path(file).unlink()
    return cache


@pytest.fixture(scope="session")
def megastyle() -> Runner:
    """Runs `megastyle ARGS` and returns its exit code, stdout and stderr as bytes.

    Settings are those of fork_server.start: cwd, fresh, max_file_kib, variables.
    """

    def run(
        *args: object, stdin: bytes = b"", **settings: Any
    ) -> subprocess.CompletedProcess[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = fork_server.start(*args, **pipes, **settings)
        stdout, stderr = process.communicate(stdin)
        return subprocess.CompletedProcess(args, process.returncode, stdout, stderr)

    return run


def pytest_sessionfinish() -> None:
    fork_server.stop_server()


def free_port() -> int:
    """A port of this machine that no program listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[dict[str, str]]:
    """What the environment says of a Ray cluster of two nodes, each with its own object store.

    Both run on this machine, one core each, as process groups of their own.
    """
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    address = f"127.0.0.1:{free_port()}"
    env = {
        "RAY_ADDRESS": address,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",  # else it reports that it is off
        "PYTHONPATH": str(Path(__file__).parents[1]),  # workers find the functions of tests
    }
    folder = tempfile.mkdtemp(prefix="megastyle-", dir="/tmp")  # short: sockets have names in it
    head = ("--head", f"--port={address.split(':')[1]}", f"--temp-dir={folder}")
    nodes = []
    try:
        for where in ((*head, "--include-dashboard=false"), (f"--address={address}",)):
            nodes.append(_start_ray_node(where, env, Path(folder, f"node{len(nodes)}.log")))
        yield env
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait(60)
        shutil.rmtree(folder)


def kill_when(command: Sequence[object], cwd: Path, path: Path, size: int) -> None:
    """Starts `megastyle COMMAND` and kills it once `path` holds `size` bytes, if it ever does.

    At 0 bytes it is enough that the file exists.
    """
    started = fork_server.start(*command, stderr=subprocess.DEVNULL, cwd=cwd)
    while started.poll() is None and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.002)
    started.kill()
    started.wait()


def _start_ray_node(
    where: Sequence[str], env: dict[str, str], log: Path
) -> subprocess.Popen[bytes]:
    flags = ("--block", "--num-cpus=1", "--object-store-memory=100000000")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *where, *flags]
    with log.open("wb") as words:
        node = subprocess.Popen(
            [*command, "--disable-usage-stats"],
            stdout=words,
            stderr=words,
            env={**os.environ, **env},
            start_new_session=True,
        )
    while "Ray runtime started" not in log.read_text():
        assert node.poll() is None, log.read_text()
        time.sleep(0.1)
    return node


def draw(seed: int, width: int = 64, height: int = 48) -> Image.Image:
    """A small picture of a few shapes; another one for each seed."""
    hue = (seed * 47) % 360
    image = Image.new("RGB", (width, height), f"hsl({hue}, 60%, 70%)")
    pen = ImageDraw.Draw(image)
    for step in range(4):
        left, top = (seed * 13 + step * 17) % width, (seed * 7 + step * 11) % height
        box = (left, top, left + width // 4, top + height // 3)
        colour = f"hsl({(hue + 90 * step) % 360}, 80%, {30 + 10 * step}%)"
        (pen.ellipse if (seed + step) % 2 else pen.rectangle)(box, fill=colour, outline="black")
    return image


@pytest.fixture
def item_size() -> Iterator[Callable[[str], None]]:
    """Sets the limit of one item for the test."""
    yield limits.set_max_item_size
    limits.set_max_item_size(limits.DEFAULT_MAX_ITEM_SIZE)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six different small pictures."""
    folder = tmp_path / "imgs"
    folder.mkdir()
    for seed in range(6):
        draw(seed).save(folder / f"{seed}.png")
    return folder


def lines(content: bytes | Path) -> list[dict[str, Any]]:
    """The records of JSON lines, each of which must be an object."""
    raw = content.read_bytes() if isinstance(content, Path) else content
    records = [json.loads(line) for line in raw.splitlines()]
    assert all(isinstance(record, dict) for record in records)
    return records


def jsonl(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """Writes records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path
