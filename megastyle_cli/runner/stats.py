"""What a run has done so far: counts, rate and time left; `--stats FILE` holds them as JSON."""

import json
import platform
import resource
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import Failure, Record, Run

HEARTBEAT_S = 30.0  # between two lines in a log, and two states of a statistics file
State = Literal["running", "done", "stopped"]


@dataclass
class Stats:
    """Counts of one run: records read, done before, written, failed and rejected; seconds.

    `total` is how many records the input holds, those done before included, if that is known.
    """

    command: str
    run: str = ""  # the run key
    done_before: int = 0
    read: int = 0
    written: int = 0
    total: int | None = None
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    missing_keys: Counter[str] = field(default_factory=Counter)  # keys that records do not have
    present_keys: list[str] = field(default_factory=list)  # those of the first such record
    measured: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)  # said before the last sentence
    started_s: float = field(default_factory=time.monotonic)

    def add(self, result: Record | Failure) -> None:
        """Counts one result of one record read."""
        self.read += 1
        if isinstance(result, Failure):
            self.add_failure(result)
        else:
            self.written += 1

    def add_failure(self, failure: Failure) -> None:
        """Counts the failure of a record that is counted as read already."""
        self.failed[failure.kind] += 1
        if failure.key:
            self.present_keys = self.present_keys or list(failure.record)
            self.missing_keys[failure.key] += 1

    def reject(self, reason: str) -> None:
        """Counts one record whose result a gate turned away."""
        self.read += 1
        self.rejected[reason] += 1

    @property
    def num_failed(self) -> int:
        """How many records failed, of any kind."""
        return self.failed.total()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the start."""
        return time.monotonic() - self.started_s

    @property
    def rate(self) -> float:
        """Records a second, of those that this run read."""
        return self.read / max(self.seconds, 1e-9)

    @property
    def to_do(self) -> int | None:
        """How many records this run has to read in all; None if that is not known."""
        return None if self.total is None else max(self.read, self.total - self.done_before)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last record; None if that is not known."""
        if not self.read or self.to_do is None:
            return None
        return (self.to_do - self.read) / self.rate

    def as_dict(self, state: State) -> dict[str, Any]:
        """Counts, seconds, records a second, memory, error kinds, and the step's measures."""
        eta = None if state != "running" or self.eta_s is None else round(self.eta_s, 1)
        return {
            "command": self.command,
            "state": state,
            "in": self.read,
            "done_before": self.done_before,
            **({} if self.to_do is None else {"to_do": self.to_do}),
            "out": self.written,
            "failed": self.num_failed,
            "kinds": dict(sorted(self.failed.items())),
            **({"rejected": dict(sorted(self.rejected.items()))} if self.rejected else {}),
            "seconds": round(self.seconds, 3),
            "rate": round(self.rate, 2),
            **({} if eta is None else {"eta_s": eta}),
            "peak_bytes": peak_bytes(),
            "run": self.run,
            "host": platform.node(),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            **self.measured,
        }


class StatsFile:
    """The statistics of a run under `path`: at the start, every 30 s, and at the end.

    A reader finds a whole file at any time. A stream gets the last state only.
    """

    def __init__(self, path: Path | None, stats: Stats, *, interval_s: float = HEARTBEAT_S) -> None:
        self.path, self.stats, self.interval_s = path, stats, interval_s
        self._last_s = -interval_s
        self._is_final_only = path is None or is_stream(path)

    def update(self) -> None:
        """Writes the state so far if the last one is old; cheap enough for every batch."""
        if not self._is_final_only and time.monotonic() - self._last_s >= self.interval_s:
            self._last_s = time.monotonic()
            self._write("running")

    def finish(self, state: State) -> None:
        """Writes the last state."""
        if self.path is not None:
            self._write(state)

    def abandon(self) -> None:
        """Says that the run has ended by an error, where that can be said without another one."""
        if not self._is_final_only:
            with suppress(OSError):
                self._write("stopped")

    def _write(self, state: State) -> None:
        assert self.path is not None
        text = json.dumps(self.stats.as_dict(state), indent=1) + "\n"
        atomic_write(self.path, text)


def measured_rate(path: Path | None, run: Run) -> float | None:
    """Records a second of an earlier run with the same options on this machine.

    `path` is a statistics file; None if there is none of such a run.
    """
    if path is None or is_stream(path) or not path.is_file():
        return None
    with suppress(MegastyleError):
        found = read_object(path)
        rate = found.get("rate")
        measured_here = {"state": "done", "run": run.key, "host": platform.node()}
        if measured_here.items() <= found.items() and isinstance(rate, int | float) and rate > 0:
            return float(rate)
    return None


def peak_bytes() -> int:
    """The most memory this process has held."""
    with suppress(OSError, StopIteration, ValueError):  # elsewhere than on Linux
        # a process starts with its parent's ru_maxrss, but with a high-water mark of its own
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
