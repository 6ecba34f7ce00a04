"""The folder that trials work in: inputs, undisturbed runs to compare with, and processes."""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.torture.commands import Form
from benchmarks.torture.inputs import write_flux, write_inputs
from benchmarks.torture.trees import Tree, read_tree, size_of
from tests import fork_server

PRELUDE = Path(__file__).with_name("prelude.py")
LIMIT_S = 120.0
POLL_S = 0.02
Process = Any  # a fork_server.ForkedProcess, or subprocess.Popen for a fresh interpreter


@dataclass(frozen=True)
class Ended:
    """How a command ended; `code` is None if it was killed because it took too long."""

    code: int | None
    words: str
    growth_mib: int = 0

    @property
    def last_words(self) -> str:
        return self.words.strip().rpartition("\n")[2][:300]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of a form."""

    code: int
    tree: Tree
    num_bytes: int
    seconds: float


class Workplace:
    """A folder of one trial: `folder` is where commands start; beside it TMPDIR and stderr."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder, self.tmp = root, root / "w", root / "tmp"
        self.folder.mkdir(parents=True)
        self.tmp.mkdir()
        self.stderr = root / "stderr"

    def start(
        self, words: Sequence[object], *fault: object, fresh: bool = False, **settings: Any
    ) -> Process:
        """Starts a command, which writes over the stderr of the one before.

        `fault` is what prelude.main takes after TMPDIR.
        """
        prelude = () if fresh else (PRELUDE, self.tmp, *fault)
        streams: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        with self.stderr.open("wb") as stderr:
            return fork_server.start(
                *words,
                **{
                    "cwd": self.folder,
                    "fresh": fresh,
                    "prelude": prelude,
                    "stderr": stderr.fileno(),
                },
                **streams,
                **settings,
            )

    def wait(self, process: Process, limit_s: float = LIMIT_S, max_mib: int = 1 << 20) -> Ended:
        """Waits for the end; kills what takes longer than `limit_s` or grows by `max_mib`."""
        end, start_mib, growth = time.monotonic() + limit_s, 0, 0
        while True:
            with suppress(subprocess.TimeoutExpired):
                return Ended(process.wait(POLL_S), self._words(), growth)
            peak = peak_mib(process.pid)
            start_mib = start_mib or peak
            growth = max(growth, peak - start_mib)
            if time.monotonic() > end or growth > max_mib:
                process.kill()
                code = process.wait()
                return Ended(None if growth <= max_mib else code, self._words(), growth)

    def run(self, words: Sequence[object], *fault: object, **settings: Any) -> Ended:
        return self.wait(self.start(words, *fault, **settings))

    def _words(self) -> str:
        return self.stderr.read_text(errors="replace")


class Lab:
    """Inputs and undisturbed runs, in a folder; made once, when they are first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.inputs = self.root / "in"
        write_inputs(self.inputs)
        self._references: dict[str, Reference] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        fork_server.start("--version", stdout=subprocess.DEVNULL).wait()  # the server itself

    def workplace(self, part: str, name: str) -> Workplace:
        """An empty one. The name of its folder is as long a path as that of a reference."""
        return Workplace(self.root / part / name)

    def begin(self, form: Form, part: str, name: str) -> Workplace:
        """A workplace in which only `form` itself is still to run."""
        place = self.workplace(part, name)
        if form.before:
            place.run(form.words_before(self.inputs))
        return place

    def reference(self, form: Form) -> Reference:
        """The undisturbed run of a form."""
        with self._lock:
            lock = self._locks.setdefault(form.name, threading.Lock())
        with lock:
            if form.name not in self._references:
                if form.name == "train-flux":
                    write_flux(self.inputs / "flux")
                place = self.begin(form, "reference", form.name)
                before = size_of(place.folder)
                start = time.monotonic()
                ended = place.run(form.words(self.inputs))
                seconds = time.monotonic() - start
                if ended.code not in (0, 3):
                    raise RuntimeError(f"{form.name}, undisturbed: {ended.code}: {ended.words}")
                self._references[form.name] = Reference(
                    ended.code,
                    read_tree(place.folder),
                    size_of(place.folder) - before,
                    seconds,
                )
            return self._references[form.name]


def peak_mib(pid: int) -> int:
    """The most memory a process has held, in MiB; 0 if it has ended."""
    return _status(pid, r"VmHWM:\s+(\d+)", lambda text: int(text) // 1024)


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    return bool(_status(pid, r"SigCgt:\s+(\w+)", lambda text: int(text, 16)) >> (number - 1) & 1)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


def _status(pid: int, pattern: str, convert: Callable[[str], int]) -> int:
    try:
        found = re.search(pattern, Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return convert(found[1]) if found else 0
