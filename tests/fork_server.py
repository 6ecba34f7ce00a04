"""Starts `megastyle` commands, as forks of a process that has imported their libraries.

Importing torch and its companions takes seconds, which is most of the time of a small command.
The server imports them once and forks a child for every command. The child is a process of its
own, with its own standard streams, arguments, working directory and signal handlers, and it runs
what `python -m megastyle_cli` runs, or another module, such as a launcher.

Nothing else happens before a fork but that the weights of the builtin models are loaded. A server
in which a library has started a thread is not used, since threads do not survive a fork. All
children of a server share one seed of string hashes, and what libraries print when they are
imported is not seen: tests of such promises start fresh interpreters (`fresh=True`).
"""

import atexit
import ctypes
import gc
import json
import os
import resource
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import typing
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import IO, NamedTuple

# One thread a process: on two cores, two processes of two threads each are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Without compiled bytecode every process compiles thousands of files.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as for a job in a shell's background
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Code that runs in the process of the tests changes os.environ; commands do not see that.
# They find no models of this machine, and fetch none.
HUB = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(Path(tempfile.gettempdir(), "megastyle-no-models"))}
# An output that another process writes is refused at once.
ENVIRONMENT = {**os.environ, **HUB, "MEGASTYLE_WAIT_S": "0"}

# What most commands of the tests import, those first that others build on.
LIBRARIES = (
    *("megastyle_cli.app", "numpy", "PIL.Image", "orjson", "jsonlines", "tqdm", "numba"),
    *("torch", "onnx", "tokenizers", "safetensors.torch", "accelerate"),
    *("transformers", "diffusers", "faiss", "peft", "wordllama"),
    *("diffusers.pipelines.flux.pipeline_flux", "diffusers.pipelines.qwenimage.pipeline_qwenimage"),
)
# Packages of the project that every command imports a part of; not those that import pyarrow or
# bitsandbytes, which start threads.
STAGES = ("captioning", "dedup", "cluster", "pair", "generate", "retrieval", "evaluate")
OWN = ("core", "compute", "runner", "report", "cli", "commands", "models.builtin", *STAGES)
# Nothing reads these when it is imported, so that a fork can have its own.
READ_LATE = {
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("ACCELERATE_USE_CPU", "FORCE_COLOR", "NO_COLOR", "OPENAI_API_KEY"),
    *("MEGASTYLE_WAIT_S", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"),
}
# The address of a server that several processes use.
SHARED = "MEGASTYLE_TEST_SERVER"
# The libraries read these when they are imported; a command sets them before.
QUIET = dict.fromkeys(("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"), "error")
HUGE = 2 << 20  # bytes of a huge page
MADV_COLLAPSE = 25  # of Linux; Python does not name it
NUMBER = struct.Struct("!i")  # length of a request, process id, or exit code as in subprocess


class ForkedProcess:
    """A command forked by the server; used like subprocess.Popen, of which it has the main part."""

    def __init__(self, connection: socket.socket, streams: "list[IO[bytes] | None]") -> None:
        self._connection = connection
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None
        self.pid = _receive_number(connection)

    def poll(self) -> int | None:
        """The exit code, or None while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the process to end and returns its exit code; negative: it died by a signal."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                self.returncode = _receive_number(self._connection)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("megastyle", timeout or 0) from None
            self._connection.close()
        return self.returncode

    def communicate(self, input: bytes = b"") -> tuple[bytes, bytes]:
        """Sends `input`, closes stdin and returns all that comes from stdout and stderr."""
        received = {1: b"", 2: b""}

        def read(number: int, stream: IO[bytes]) -> None:
            with stream:
                received[number] = stream.read()

        outputs = ((1, self.stdout), (2, self.stderr))
        readers = [threading.Thread(target=read, args=output) for output in outputs if output[1]]
        for reader in readers:
            reader.start()
        if self.stdin:
            with suppress(BrokenPipeError):  # a command may end without reading all
                self.stdin.write(input)
            with suppress(BrokenPipeError):
                self.stdin.close()
        for reader in readers:
            reader.join()
        self.wait()
        return received[1], received[2]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: object,
    cwd: Path | None = None,
    fresh: bool = False,
    max_file_kib: int | None = None,
    prelude: Sequence[object] = (),
    module: str = "megastyle_cli",
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    **env: str,
) -> "subprocess.Popen[bytes] | ForkedProcess":
    """Starts `megastyle ARGUMENTS` in the environment that the tests were started in, plus `env`.

    It is `python -m MODULE ARGUMENTS` that is started, so that `module` may be another program.
    Streams are as in subprocess.Popen: None, PIPE, DEVNULL or a file descriptor. No file may grow
    beyond `max_file_kib`, as if a disk were full (`ulimit -f`, an OSError). `prelude` is a Python
    file whose `main` is called in the process before the command, and its arguments. The process is
    forked from the server unless a fresh interpreter is asked for, or needed because `env` has
    variables that libraries may read when they are imported.
    """
    words = [str(argument) for argument in arguments]
    server = None if fresh or set(env) - READ_LATE else _server()
    if server:
        first = [str(argument) for argument in prelude]
        streams = (stdin, stdout, stderr)
        return server.fork(module, words, cwd, env, max_file_kib, streams, first)
    if prelude:
        raise RuntimeError("a prelude needs the fork server, which does not run here")
    limited = ["bash", "-c", f'ulimit -f {max_file_kib}; exec "$@"', "-"] if max_file_kib else []
    return subprocess.Popen(
        [*limited, sys.executable, "-m", module, *words],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        cwd=cwd,
        env={**ENVIRONMENT, **env},
    )


def write_program(path: Path, reports: Path | None = None) -> None:
    """Writes a program that does what `megastyle` does, for shell scripts and launchers to call.

    As a rank of a launcher it writes its process id to `reports`/RANK.pid, and to RANK.code the
    exit code of a command that was not killed.
    """
    server = _server()
    program = PROGRAM if server else FRESH_PROGRAM
    address = server.address if server else None
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = str(reports) if reports else None
    path.write_text(program.format(python=sys.executable, address=address, reports=folder))
    path.chmod(0o755)


# Starts in 20 ms: without site-packages, and with nothing else imported.
PROGRAM = """#!{python} -IS
import json, os, signal, socket, struct, sys

def report(suffix, number):
    if {reports!r}:
        with open(f"{reports}/{{os.environ['RANK']}}.{{suffix}}", "w") as file:
            file.write(str(number))

def receive():
    return struct.unpack("!i", connection.recv(4, socket.MSG_WAITALL))[0]

call = {{"arguments": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}}
request = json.dumps(call).encode()
connection = socket.socket(socket.AF_UNIX)
connection.connect({address!r})
socket.send_fds(connection, [struct.pack("!i", len(request))], [0, 1, 2])
connection.sendall(request)
pid = receive()
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, _: os.kill(pid, number))
report("pid", pid)
code = receive()
if code >= 0:
    report("code", code)
sys.exit(code if code >= 0 else 128 - code)
"""
FRESH_PROGRAM = """#!{python}
import os, runpy, sys

def report(suffix, number):
    if {reports!r}:
        with open(f"{reports}/{{os.environ['RANK']}}.{{suffix}}", "w") as file:
            file.write(str(number))

report("pid", os.getpid())
try:
    runpy.run_module("megastyle_cli", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    report("code", ended.code)
    raise
"""


@contextmanager
def running_server() -> Iterator[str]:
    """Starts a server and gives its address, where it answers once it has imported everything."""
    with tempfile.TemporaryDirectory(prefix="megastyle-") as folder:
        address = f"{folder}/socket"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(address)
            listening.listen()
            process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(listening.fileno())],
                stdin=subprocess.PIPE,  # the server ends when this is closed
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                pass_fds=[listening.fileno()],
            )
        with process:
            yield address
            process.terminate()  # it may still import


class ForkServer:
    """The server at an address, seen from the tests."""

    def __init__(self, address: str) -> None:
        self.address = address
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(address)
            socket.send_fds(connection, [NUMBER.pack(0)], [])
            self.pid, self.num_threads = (_receive_number(connection) for _ in range(2))

    def fork(
        self,
        module: str,
        arguments: list[str],
        cwd: Path | None,
        env: dict[str, str],
        max_file_kib: int | None,
        streams: Sequence[int | None],
        prelude: Sequence[str] = (),
    ) -> ForkedProcess:
        """Starts a command, as `start` says."""
        call = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "env": ENVIRONMENT | env}
        settings = {"module": module, "max_file_kib": max_file_kib, "prelude": list(prelude)}
        request = json.dumps(call | settings).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        ends = [_open_stream(number, kind) for number, kind in enumerate(streams)]
        files = [theirs for theirs, _ in ends]
        socket.send_fds(connection, [NUMBER.pack(len(request))], files)
        connection.sendall(request)
        for file in files:
            os.close(file)
        return ForkedProcess(connection, [ours for _, ours in ends])


def share_server() -> None:
    """Starts a server that this process and those that it will start use together."""
    if SHARED not in os.environ and _can_fork():
        os.environ[SHARED] = _running.enter_context(running_server())


def stop_server() -> None:
    """Ends the server if this process started one; commands that still run are left alone."""
    _running.close()
    _server.cache_clear()


_running = ExitStack()


@cache
def _server() -> ForkServer | None:
    """The server of this process; None where forks are not safe."""
    if not _can_fork():
        return None
    server = ForkServer(os.environ.get(SHARED) or _running.enter_context(running_server()))
    return server if server.num_threads == 1 else None


def _can_fork() -> bool:
    """Forks are not safe with the system libraries of macOS, nor where CUDA may be used."""
    return sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def _open_stream(number: int, kind: int | None) -> tuple[int, IO[bytes] | None]:
    """The child's end of a standard stream, and ours if it is a pipe."""
    if kind == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if kind != subprocess.PIPE:
        return os.dup(number if kind is None else kind), None
    reading, writing = os.pipe()
    return (
        (reading, os.fdopen(writing, "wb")) if number == 0 else (writing, os.fdopen(reading, "rb"))
    )


def _receive_number(connection: socket.socket) -> int:
    answer = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    if not answer:
        raise RuntimeError("the fork server has ended")
    return int(NUMBER.unpack(answer)[0])


# What follows runs in the server.


class Request(NamedTuple):
    """A command to start, and its standard streams."""

    arguments: list[str]
    cwd: str
    env: dict[str, str]
    streams: list[int]
    module: str = "megastyle_cli"
    max_file_kib: int | None = None
    prelude: Sequence[str] = ()


def _serve(listening: socket.socket) -> Request | None:
    """Forks a child for every request; returns the request in each child, None at the end."""
    running: dict[int, socket.socket] = {}
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commands
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    with selectors.DefaultSelector() as selector:
        for source in (listening, woken, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _report_ended(running)
            if sys.stdin in ready:
                return None
            if listening not in ready:
                continue
            connection, _ = listening.accept()
            request = _receive_request(connection)
            if request is None:
                num_threads = len(list(Path("/proc/self/task").iterdir()))
                with connection:
                    connection.sendall(NUMBER.pack(os.getpid()) + NUMBER.pack(num_threads))
                continue
            signals = (signal.SIGINT, signal.SIGTERM)  # kept until the child can handle them
            signal.pthread_sigmask(signal.SIG_BLOCK, signals)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for other in (listening, woken, wake, connection, *running.values()):
                    other.close()
                return request
            signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
            for stream in request.streams:
                os.close(stream)
            running[pid] = connection
            connection.sendall(NUMBER.pack(pid))


def _receive_request(connection: socket.socket) -> Request | None:
    """The command to start; None if the other side asks what this process is."""
    head, streams, _, _ = socket.recv_fds(connection, NUMBER.size, 3)
    (size,) = NUMBER.unpack(head)
    if size == 0:
        return None
    return Request(**json.loads(connection.recv(size, socket.MSG_WAITALL)), streams=streams)


def _report_ended(running: dict[int, socket.socket]) -> None:
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with running.pop(pid) as connection, suppress(OSError):  # the test may be gone
                connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _become(request: Request) -> None:
    """Turns the forked child into a process that was started with `request`."""
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ |= request.env
    if request.max_file_kib:
        limit = 1024 * request.max_file_kib
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    weakref.finalize._registry.clear()  # what the server's imports would do at exit
    typing._cleanups.clear()
    sys.path.insert(0, request.cwd)
    sys.argv = [request.module, *request.arguments]
    # new ones: those of the server were set up for other files
    old, settings = sys.stdout, {"newline": "\n", "closefd": False}
    sys.stdin = os.fdopen(0, encoding=old.encoding, errors=old.errors, **settings)
    sys.stdout = os.fdopen(1, "w", encoding=old.encoding, errors=old.errors, **settings)
    if request.prelude:
        runpy.run_path(request.prelude[0])["main"](*request.prelude[1:])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    code = 0
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        code = end.code
    except Exception:  # a launcher's: its ranks have failed
        sys.excepthook(*sys.exc_info())
        code = 1
    # what Python does at exit, but for taking apart the modules of the server, and the operators of
    # its torch: that takes longer than most commands
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _load_builtin_models() -> None:
    """Loads what is kept for the whole process: in most commands that takes as long as the rest."""
    from PIL import Image
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    from megastyle_cli.compute.engine import limit_threads
    from megastyle_cli.models.builtin import discriminant_encoder, imagenet, magenta, text_embedder

    picture = Image.new("RGB", (32, 32))
    text_embedder.StaticEmbedder()
    imagenet.classifier_session()
    discriminant_encoder.describe(picture)
    magenta.stylize(picture, magenta.style_vector(picture))
    limit_threads()
    get_checkpoint_conversion_mapping("clip")  # compiles the patterns of all models


def _join_pages() -> None:
    """Joins the memory of the libraries to huge pages, where Linux can.

    A fork copies the table of pages, and its end takes it apart: with pages of 4 KiB that is most
    of the time of a small command.
    """
    joins = ctypes.CDLL(None).madvise
    joins.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, _, _, inode, *_ = line.split()
        first, end = (int(number, 16) for number in place.split("-"))
        if access == "rw-p" and inode == "0":
            for start in range(-(-first // HUGE) * HUGE, end - HUGE + 1, HUGE):
                joins(start, HUGE, MADV_COLLAPSE)  # fails where nothing is stored, or in old Linux


def main() -> None:
    os.environ |= QUIET
    gc.disable()
    for library in LIBRARIES:
        import_module(library)
    for package in OWN:
        folder = import_module(f"megastyle_cli.{package}")
        for module in iter_modules(folder.__path__, f"{folder.__name__}."):
            if not module.ispkg:
                import_module(module.name)
    _load_builtin_models()
    gc.collect()
    gc.freeze()  # objects of the libraries stay shared with the children
    gc.enable()
    _join_pages()
    if request := _serve(socket.socket(fileno=int(sys.argv[1]))):
        _become(request)


if __name__ == "__main__":
    main()
