"""The statistics file, `--stats FILE`: what a run has done so far, as JSON."""

import json
import platform
import resource
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import Run
from megastyle_cli.runner.progress import HEARTBEAT_S, Stats

State = Literal["running", "done", "stopped"]


def as_dict(stats: Stats, state: State) -> dict[str, Any]:
    """Counts, seconds, records a second, memory, error kinds, and the step's measures."""
    eta = None if state != "running" or stats.eta_s is None else round(stats.eta_s, 1)
    return {
        "command": stats.command,
        "state": state,
        "in": stats.read,
        "done_before": stats.done_before,
        **({} if stats.to_do is None else {"to_do": stats.to_do}),
        "out": stats.written,
        "failed": stats.num_failed,
        "kinds": dict(sorted(stats.failed.items())),
        **({"rejected": dict(sorted(stats.rejected.items()))} if stats.rejected else {}),
        "seconds": round(stats.seconds, 3),
        "rate": round(stats.rate, 2),
        **({} if eta is None else {"eta_s": eta}),
        "peak_bytes": peak_bytes(),
        "run": stats.run,
        "host": platform.node(),
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        **stats.measured,
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
        """Records that the run ended with an error, if that can be written."""
        if not self._is_final_only:
            with suppress(OSError):
                self._write("stopped")

    def _write(self, state: State) -> None:
        assert self.path is not None
        text = json.dumps(as_dict(self.stats, state), indent=1) + "\n"
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
    """The peak memory of this process."""
    with suppress(OSError, StopIteration, ValueError):  # elsewhere than on Linux
        # a process starts with its parent's ru_maxrss, but with a high-water mark of its own
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
