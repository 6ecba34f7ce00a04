"""Ray: calls spread over the cores of a cluster, or of a small one that is started for them.

Ray core and not Ray Data: results come in the order of items, what is shared is sent once a node,
and of all that Ray Data brings nothing is needed here. A worker that dies has its call done again
by Ray; a call depends on its arguments alone, so the result is the same.
"""

import io
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.core.parallel import usable_cores

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 2  # calls handed out for each worker: one it works on, one whose arguments are on the way
ALIKE = ("megastyle", "numpy")  # what must be the same everywhere for results to be


class RayEngine:
    """An engine of the cluster at RAY_ADDRESS, or of one started here if that is not set."""

    def __init__(self, workers: int | None = None) -> None:
        self._folder: str | None = None
        self._sent: list[tuple[Any, Any]] = []  # what the last map shared, and where Ray holds it
        self._stdout = redirect_stdout(_Logged())  # Ray prints there that a worker has died
        with _signals_kept():
            self._ray = _import_ray()
            address = os.environ.get("RAY_ADDRESS", "local")
            if address == "local":
                self._start(workers or usable_cores())
            else:
                self._join(address)
        cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self.workers = min(workers or cores, cores)
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        log.info("Ray works on %d nodes, %d calls at once", nodes, self.workers)
        self._call = self._ray.remote(_call_alone)
        self._stdout.__enter__()

    def put(self, items: Iterable[In]) -> Sequence[In]:
        """See `Engine.put`: Ray holds the items and brings each to where it is called for."""
        return [self._ray.put(item) for item in items]

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """See `Engine.map`."""
        held = self._share(shared)
        running: deque[tuple[Any, Future[Out]]] = deque()

        def start(some: Iterator[Any]) -> None:
            for item in some:
                reference = self._call.remote(function, item, *held)
                # a future is waited for in Python, where a signal is met at once
                running.append((reference, reference.future()))

        items = iter(items)
        try:
            start(islice(items, AHEAD * self.workers))
            while running:
                done = self._result(running.popleft()[1])
                start(islice(items, 1))
                yield done
        finally:
            for reference, _ in running:
                self._ray.cancel(reference, force=False)

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends, and its files go."""
        self._sent.clear()
        with _signals_kept():
            self._ray.shutdown()
        self._stdout.__exit__(None, None, None)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, workers: int) -> None:
        # not in TMPDIR, which may be too long for the name of a socket
        self._folder = tempfile.mkdtemp(prefix="megastyle-ray-", dir="/tmp")
        try:
            self._ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                _temp_dir=self._folder,
            )
        except Exception:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _join(self, address: str) -> None:
        if "://" in address:
            raise MegastyleError(
                f"RAY_ADDRESS is {address}: megastyle runs inside the cluster, not as its client",
                hint="start it on a node of the cluster and set RAY_ADDRESS to HOST:PORT",
            )
        try:
            if address != "auto":
                _knock(address)  # Ray would try for minutes
            # log_to_driver would copy what workers print to standard output
            self._ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise MegastyleError(
                f"no Ray cluster answers at RAY_ADDRESS={address} ({_first_line(error)})",
                hint="check the address, or unset it to use the cores of this machine",
            ) from error
        try:
            self._check_node_versions()
        except BaseException:
            self._ray.shutdown()
            raise

    def _check_node_versions(self) -> None:
        """Raises MegastyleError if a node lacks this package, or has another version of it."""
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        ask = self._ray.remote(_versions)
        here = _versions(ALIKE)
        for node in self._ray.nodes():
            if not node["Alive"] or not node["Resources"].get("CPU"):
                continue
            there = strategy(node["NodeID"], soft=False)
            answer = ask.options(scheduling_strategy=there).remote(ALIKE).future()
            found = self._result(answer)
            for name in ALIKE:
                if found[name] != here[name]:
                    raise MegastyleError(
                        f"the node {node['NodeManagerHostname']} has {name} {found[name]},"
                        f" this one {here[name]}",
                        hint="install the same versions on every node",
                    )

    def _share(self, values: tuple[Any, ...]) -> list[Any]:
        """Where Ray holds `values`; one that the last map shared, the very object, is there."""
        known = {id(value): reference for value, reference in self._sent}
        self._sent = [
            (value, known[id(value)] if id(value) in known else self._ray.put(value))
            for value in values
        ]
        return [reference for _, reference in self._sent]

    def _result(self, future: Future[Out]) -> Out:
        errors = self._ray.exceptions
        try:
            return future.result()
        except errors.RayTaskError as error:
            if isinstance(error.cause, ModuleNotFoundError):
                raise MegastyleError(
                    f"a worker has no module {error.cause.name!r}",
                    hint="install megastyle, the same version, on every node of the cluster",
                ) from error
            raise error.cause from None
        except errors.RayError as error:
            raise MegastyleError(
                f"the Ray cluster could not do its work ({_first_line(error)})",
                hint="nothing was written; see Ray's logs, and give workers more memory",
                exit_code=UNEXPECTED,
            ) from error


class _Logged(io.TextIOBase):
    """A stream whose words become log lines, to be seen with -v."""

    def write(self, words: str) -> int:
        if words.strip():
            log.info("%s", words.strip())
        return len(words)


def _call_alone(function: Callable[..., Out], item: Any, *shared: Any) -> Out:
    """One call on one thread, as `local` does it: the order of a sum is part of its result."""
    with threadpool_limits(1):
        return function(item, *shared)


def _knock(address: str) -> None:
    """Raises OSError or ValueError if nothing listens at `address`, which is HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _versions(names: Sequence[str]) -> dict[str, str]:
    return {name: version(name) for name in names}


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no request that nobody asked for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        # a secret of this run: Ray would write one into the home directory, and say so
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not log.isEnabledFor(logging.INFO):
        logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise MegastyleError(
            f"--engine ray needs the package {missing.name!r}, which is not installed",
            hint="pip install 'megastyle[ray]'",
        ) from missing
    return ray


@contextmanager
def _signals_kept() -> Iterator[None]:
    # Ray puts its own handler for SIGTERM in the place of ours
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
