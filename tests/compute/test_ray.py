"""The promises of the local engine on two nodes, and errors that only a cluster has."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from megastyle_cli import NO_TELEMETRY
from megastyle_cli.compute.engine import Engine, load_engine
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.limits import parse_size
from megastyle_cli.dedup import ivf_search
from tests.compute.on_workers import (
    dies,
    dies_once,
    import_missing_module,
    is_same_memory,
    node_of,
    only_even,
    product,
    scaled,
    setting_of_worker,
)
from tests.conftest import needs_ray
from tests.strace import traced

Array = npt.NDArray[np.float32]

# Ray and `_own_addresses` connect a datagram socket to it to learn this machine's own address;
# nothing is sent.
PUBLIC_SERVER = "8.8.8.8"


@pytest.fixture(scope="module")
def engine(ray_cluster: dict[str, str]) -> Iterator[Engine]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ray_cluster.items():
            patch.setenv(name, value)
        with load_engine("ray") as engine:
            yield engine


def test_all_cores_of_the_cluster_are_used(engine: Engine) -> None:
    assert engine.workers == 2


def test_results_come_in_the_order_of_items(engine: Engine) -> None:
    assert list(engine.map(scaled, iter(range(50)), 3)) == list(range(0, 150, 3))


def test_both_nodes_work(engine: Engine) -> None:
    seen = set()
    for node in engine.map(node_of, range(1200)):  # a busy machine starts its workers late
        seen.add(node)
        if len(seen) == 2:
            break

    assert len(seen) == 2


def test_results_equal_those_of_local_bit_for_bit(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(50, 128)).astype(np.float32) for _ in range(9)]
    other = rng.normal(size=(128, 300)).astype(np.float32)

    on_cluster = list(engine.map(product, engine.put(blocks), other))

    with load_engine("local", 1) as local:
        assert on_cluster == list(local.map(product, local.put(blocks), other))


def test_ivf_search_finds_the_same_pairs_as_locally(engine: Engine) -> None:
    rows = np.random.default_rng(1).normal(size=(3000, 7)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    found, how = ivf_search.search_neighbors(rows, 0, 0.9, 0.99, engine)

    with load_engine("local", 1) as local:
        alone, stats = ivf_search.search_neighbors(rows, 0, 0.9, 0.99, local)
    assert how == stats and how.probes and len(alone.one) > 1000
    for part in ("one", "two", "score", "is_truncated"):
        assert np.array_equal(getattr(found, part), getattr(alone, part))


def test_items_are_drawn_slightly_ahead_of_the_results(engine: Engine) -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for item in range(1000):
            drawn += 1
            yield item

    results = engine.map(scaled, items())
    for _ in range(10):
        next(results)

    assert drawn <= 10 + 2 * engine.workers


def test_an_object_shared_again_is_not_sent_again(engine: Engine) -> None:
    shared = np.zeros(1_000_000, np.float32)

    addresses = [set(engine.map(is_same_memory, range(20), shared)) for _ in range(3)]

    assert len(set().union(*addresses)) <= 2 * engine.workers  # one copy per process


def test_an_error_follows_the_results_before_it(engine: Engine) -> None:
    results = engine.map(only_even, [0, 2, 4, 5, 6])
    assert [next(results) for _ in range(3)] == [0, 2, 4]

    with pytest.raises(MegastyleError, match="5 is odd") as raised:
        next(results)

    assert raised.value.hint == "give even ones"


def test_a_killed_worker_does_not_change_results(engine: Engine, tmp_path: Path) -> None:
    results = list(engine.map(dies_once, range(12), str(tmp_path)))

    assert (tmp_path / "died").exists()
    assert results == [item * item for item in range(12)]


def test_a_call_that_kills_every_worker_is_an_error(engine: Engine) -> None:
    with pytest.raises(MegastyleError, match="Ray cluster failed") as raised:
        list(engine.map(dies, [1]))

    assert raised.value.exit_code == 1


def test_workers_have_the_largest_item_of_the_run_and_no_telemetry(
    engine: Engine, item_size: Callable[[str], None]
) -> None:
    for size in ("3000", "2G"):  # one worker serves runs of different limits
        item_size(size)

        assert list(engine.map(setting_of_worker, [1])) == [(parse_size(size), NO_TELEMETRY)]


def test_a_module_missing_on_a_worker_is_named(engine: Engine) -> None:
    with pytest.raises(MegastyleError, match="no module 'no_such_module'"):
        list(engine.map(import_missing_module, [1]))


STOPPED = """
import os, signal, sys, threading, time
from megastyle_cli.compute.engine import load_engine
from tests.compute.on_workers import dies_once
signal.signal(signal.SIGTERM, lambda *signal: sys.exit(75))
with load_engine("ray", 2) as engine:
    sys.stderr.write(f"{sum(engine.map(dies_once, range(10), sys.argv[1]))} by {engine.workers}")
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    list(engine.map(time.sleep, [600]))
"""


@needs_ray
def test_a_started_cluster_is_quiet_and_a_signal_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "connections"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(Path(__file__).parents[2])}
    before = set(Path("/tmp").glob("megastyle-ray-*"))

    done = subprocess.run(
        [*traced(log), sys.executable, "-c", STOPPED, tmp_path],
        capture_output=True,
        env=env,
        timeout=120,
    )

    assert (tmp_path / "died").exists()
    assert (done.returncode, done.stdout, done.stderr) == (75, b"", b"285 by 2")
    assert not (tmp_path / "home").exists()
    assert set(Path("/tmp").glob("megastyle-ray-*")) <= before
    assert not [name for name in _running() if "megastyle-ray-" in name]
    if log.exists():
        assert set(re.findall(r'"([\d.]+)"', log.read_text())) <= {*_own_addresses(), PUBLIC_SERVER}


def _own_addresses() -> Iterator[str]:
    yield "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        unsent.connect((PUBLIC_SERVER, 53))
        yield str(unsent.getsockname()[0])


def _running() -> Iterator[str]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield path.read_text()


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://head:10001", "not as its client"),
        ("127.0.0.1:9", "no Ray cluster answers"),
        ("head", "no Ray cluster answers"),
    ],
)
def test_an_address_that_does_not_work_is_named(
    address: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)

    with pytest.raises(MegastyleError, match=words) as raised:
        load_engine("ray")

    assert address in raised.value.message
