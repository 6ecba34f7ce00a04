"""What a person sees of a run: a bar on a terminal, a line every 30 s in a log, a last sentence."""

import json
import os
import resource
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.printable import printable
from megastyle_cli.core.record import Failure, Record

HEARTBEAT_S = 30.0


@dataclass
class Stats:
    """Counts of one run: records read, done before, written, failed and rejected; seconds."""

    command: str
    done_before: int = 0
    read: int = 0
    written: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    measured: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)  # said before the last sentence
    conclude: Callable[[], None] | None = None  # fills in `measured` and `remarks` at the end
    started_s: float = field(default_factory=time.monotonic)

    def add(self, result: Record | Failure) -> None:
        """Counts one result of one record read."""
        self.read += 1
        if isinstance(result, Failure):
            self.failed[result.kind] += 1
        else:
            self.written += 1

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

    def write(self, path: Path) -> None:
        """Counts, seconds, records a second, memory, error kinds, the step's measures; as JSON."""
        facts = {
            "command": self.command,
            "in": self.read,
            "done_before": self.done_before,
            "out": self.written,
            "failed": self.num_failed,
            "kinds": dict(sorted(self.failed.items())),
            **({"rejected": dict(sorted(self.rejected.items()))} if self.rejected else {}),
            "seconds": round(self.seconds, 3),
            "rate": round(self.read / max(self.seconds, 1e-9), 2),
            "peak_bytes": peak_bytes(),
            **self.measured,
        }
        atomic_write(path, json.dumps(facts, indent=1) + "\n")


def peak_bytes() -> int:
    """The most memory this process has held."""
    with suppress(OSError, StopIteration, ValueError):  # elsewhere than on Linux
        # a process starts with its parent's ru_maxrss, but with a high-water mark of its own
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


class Progress:
    """Draws a tally: a bar if a person watches this command, else a plain line every 30 s."""

    def __init__(
        self, tally: Stats, *, quiet: bool, to_stdout: bool, total: int | None = None
    ) -> None:
        self.tally, self.quiet, self.total = tally, quiet, total
        self._bar = self._new_bar() if not quiet and _is_watched(to_stdout) else None
        self._last_s = time.monotonic()

    def show(self) -> None:
        """Brings the picture up to date; cheap enough for every batch."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.tally.num_failed} failed", refresh=False)
            self._bar.update(self.tally.read - self._bar.n)
        elif not self.quiet and time.monotonic() - self._last_s >= HEARTBEAT_S:
            self._last_s = time.monotonic()
            say(self._line())

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> str:
        tally = self.tally
        rate = tally.read / max(tally.seconds, 1e-9)
        of = f"/{self.total:,}" if self.total else ""
        left = ""
        if self.total and rate > 0:
            left = f" \u00b7 eta {duration((self.total - tally.read) / rate)}"
        return (
            f"{tally.command} {tally.read:,}{of} \u00b7 {rate:.1f}/s"
            f" \u00b7 {tally.num_failed:,} failed{left}"
        )

    def _new_bar(self) -> Any:
        from tqdm import tqdm

        return tqdm(
            total=self.total, desc=self.tally.command, unit="", leave=False, dynamic_ncols=True
        )


class Stage:
    """Draws one long work after another inside a command: a bar, or a plain line every 30 s."""

    def __init__(self, command: str, *, quiet: bool, to_stdout: bool) -> None:
        self.command, self.quiet = command, quiet
        self.is_watched = not quiet and _is_watched(to_stdout)
        self._bar: Any = None
        self._what, self._done = "", 0
        self._total: int | None = None
        self._started_s = self._last_s = time.monotonic()

    def begin(self, what: str, total: int | None = None) -> None:
        """Work of `total` parts begins, and the one before it is over; None if nobody knows."""
        self.close()
        self._what, self._total, self._done = what, total, 0
        self._started_s = self._last_s = time.monotonic()
        if self.is_watched:
            from tqdm import tqdm

            desc = f"{self.command}: {what}"
            self._bar = tqdm(total=total, desc=desc, unit="", leave=False, dynamic_ncols=True)

    def advance(self, count: int = 1) -> None:
        """So many parts more are done."""
        self._done += count
        now_s = time.monotonic()
        if self._bar is not None:
            self._bar.update(count)
        elif not self.quiet and now_s - self._last_s >= HEARTBEAT_S:
            self._last_s = now_s
            rate = self._done / max(now_s - self._started_s, 1e-9)
            of = f"/{self._total:,}" if self._total else ""
            left = ""
            if self._total and rate > 0:
                left = f" \u00b7 eta {duration((self._total - self._done) / rate)}"
            say(f"{self.command}: {self._done:,}{of} {self._what} \u00b7 {rate:.1f}/s{left}")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def last_sentence(tally: Stats, errors: Path | None) -> str:
    """What the run did in one line: `caption: 12 in . 11 out . 1 failed -> x.errors.jsonl . 3s`."""
    before = f" ({tally.done_before:,} done before)" if tally.done_before else ""
    where = f" \u2192 {errors}" if tally.num_failed and errors else ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(tally.rejected.items()))
    turned_away = [f"{tally.rejected.total():,} rejected ({reasons})"] if reasons else []
    return " \u00b7 ".join(
        [
            f"{tally.command}: {tally.read:,} in{before}",
            f"{tally.written:,} out",
            *turned_away,
            f"{tally.num_failed:,} failed{where}",
            duration(tally.seconds),
        ]
    )


def say(sentence: str) -> None:
    """A line for people on stderr; of several ranks only the first speaks."""
    if os.environ.get("RANK", "0") != "0":
        return
    sys.stderr.write(printable(sentence) + "\n")
    sys.stderr.flush()


def duration(seconds: float) -> str:
    """A length of time as people write it: 0.4s, 12s, 5m12s, 9h12m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def _is_watched(to_stdout: bool) -> bool:
    # Records on a terminal and a bar on the same one would overwrite each other.
    if to_stdout and sys.stdout.isatty():
        return False
    # In a | b | c only the last command draws: the others' stdout is a pipe.
    try:
        piped = stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        piped = False
    return sys.stderr.isatty() and not piped
