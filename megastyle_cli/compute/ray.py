"""The engine of a Ray cluster, or of a local one that is started for the run.

It uses Ray core, not Ray Data: results come in the order of the items and shared values are sent
once to each node. Ray repeats the call of a worker that died; a call depends on its arguments
alone, so the result is the same.
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
from concurrent.futures import Future, wait
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

from threadpoolctl import threadpool_limits

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.core.extras import missing_module
from megastyle_cli.core.limits import max_item_bytes, set_max_item_size

log = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")

AHEAD = 2  # calls submitted for each worker: one running, one whose arguments are being sent
SAME_VERSIONS = ("megastyle", "numpy")  # on all nodes, for equal results


class RayEngine:
    """The engine of the cluster at RAY_ADDRESS, or of one that it starts on this machine."""

    def __init__(self, workers: int | None, *, local_cores: int) -> None:
        self._folder: str | None = None
        self._sent: list[tuple[Any, Any]] = []  # shared by the last map: values, references
        self._stdout = redirect_stdout(_LogStream())  # where Ray reports a dead worker
        with _keep_signal_handler():
            self._ray = _import_ray()
            address = os.environ.get("RAY_ADDRESS", "local")
            if address == "local":
                self._start(workers or local_cores)
            else:
                self._join(address)
        cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self.workers = min(workers or cores, cores)
        nodes = sum(node["Alive"] for node in self._ray.nodes())
        log.info("Ray works on %d nodes, %d calls at once", nodes, self.workers)
        self._call = self._ray.remote(_call_on_one_thread)
        self._stdout.__enter__()

    def put(self, items: Iterable[In]) -> Sequence[In]:
        """See `Engine.put`: Ray stores the items and sends each to the worker that needs it."""
        return [self._ray.put(item) for item in items]

    def map(
        self, function: Callable[..., Out], items: Iterable[Any], *shared: Any
    ) -> Iterator[Out]:
        """See `Engine.map`."""
        held, limit = self._share(shared), str(max_item_bytes())
        running: deque[tuple[Any, Future[Out]]] = deque()

        def start(some: Iterator[Any]) -> None:
            for item in some:
                reference = self._call.remote(limit, function, item, *held)
                # waiting for a future happens in Python, where signals are handled at once
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
        """Leaves the cluster; one that was started here is stopped and its files deleted."""
        self._sent.clear()
        with _keep_signal_handler():
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
        # not in TMPDIR: its path may be too long for a socket
        self._folder = tempfile.mkdtemp(prefix="megastyle-ray-", dir="/tmp")
        try:
            with _without_usage_process():
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
                _check_listening(address)  # Ray would try for minutes
            # log_to_driver would copy the output of workers to standard output
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
        """Raises MegastyleError if a node lacks one of SAME_VERSIONS or has another version."""
        strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        ask = self._ray.remote(_versions)
        here = _versions(SAME_VERSIONS)
        for node in self._ray.nodes():
            if not node["Alive"] or not node["Resources"].get("CPU"):
                continue
            there = strategy(node["NodeID"], soft=False)
            answer = ask.options(scheduling_strategy=there).remote(SAME_VERSIONS).future()
            found = self._result(answer)
            for name in SAME_VERSIONS:
                if found[name] != here[name]:
                    raise MegastyleError(
                        f"the node {node['NodeManagerHostname']} has {name} {found[name]},"
                        f" this one {here[name]}",
                        hint="install the same versions on every node",
                    )

    def _share(self, values: tuple[Any, ...]) -> list[Any]:
        """References to `values`; an object that the last map shared is not sent again."""
        known = {id(value): reference for value, reference in self._sent}
        self._sent = [
            (value, known[id(value)] if id(value) in known else self._ray.put(value))
            for value in values
        ]
        return [reference for _, reference in self._sent]

    def _result(self, future: Future[Out]) -> Out:
        errors = self._ray.exceptions
        # a signal that another thread takes (as happens under strace) does not wake this one
        while not wait([future], timeout=1).done:
            pass
        try:
            return future.result()
        except errors.RayTaskError as error:
            if isinstance(error.cause, ModuleNotFoundError):
                raise MegastyleError(
                    f"a worker has no module {error.cause.name!r}",
                    hint="install the same version of megastyle on every node of the cluster",
                ) from error
            raise error.cause from None
        except errors.RayError as error:
            raise MegastyleError(
                f"the Ray cluster failed ({_first_line(error)})",
                hint="nothing was written; check Ray's logs, or give the workers more memory",
                exit_code=UNEXPECTED,
            ) from error


class _LogStream(io.TextIOBase):
    """A text stream that writes to the log, which -v shows."""

    def write(self, text: str) -> int:
        if text.strip():
            log.info("%s", text.strip())
        return len(text)


@contextmanager
def _without_usage_process() -> Iterator[None]:
    """Inside, a cluster starts without the process that reports usage.

    Without a dashboard that is all the process does, and it asks the metadata service of the cloud
    where it runs even if reports are switched off; no setting prevents that.
    """
    from ray._private import services

    start = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = start


def _call_on_one_thread(
    max_item_size: str, function: Callable[..., Out], item: Any, *shared: Any
) -> Out:
    """One call on one thread, as in the local engine: the result of a sum depends on its order.

    The limit of `--max-item-size` is that of this process, which a worker does not know.
    """
    set_max_item_size(max_item_size)
    with threadpool_limits(1):
        return function(item, *shared)


def _check_listening(address: str) -> None:
    """Raises OSError or ValueError if nothing listens at `address`, which is HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), timeout=10).close()


def _versions(names: Sequence[str]) -> dict[str, str]:
    return {name: version(name) for name in names}


def _import_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        # a token of this run: Ray would write one to the home directory, and print that it did
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if not log.isEnabledFor(logging.INFO):
        logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        import ray
    except ModuleNotFoundError as missing:
        raise missing_module(missing.name, "--engine ray") from missing
    return ray


@contextmanager
def _keep_signal_handler() -> Iterator[None]:
    # Ray replaces our handler of SIGTERM
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
