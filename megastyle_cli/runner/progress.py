"""What a run has done so far, and what a person sees of it: one line on a terminal, a line every
30 s in a log, a last sentence.

While the line is drawn, whatever else is written to stderr, by any library, appears above it.
"""

import logging
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.printable import printable
from megastyle_cli.core.record import Failure, Record

if TYPE_CHECKING:
    from megastyle_cli.runner.stats import State, StatsFile

HEARTBEAT_S = 30.0  # between two lines in a log, and two states of a statistics file


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
    work_began: tuple[float, int] | None = None  # when, and what was read before

    def begin_work(self) -> None:
        """From here on records count for the rate: those done before are skipped, models loaded."""
        if self.work_began is None:
            self.work_began = (time.monotonic(), self.read)

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
        """Records a second, of those that this run read, since its work began."""
        began_s, before = self.work_began or (self.started_s, 0)
        return (self.read - before) / max(time.monotonic() - began_s, 1e-9)

    @property
    def to_do(self) -> int | None:
        """How many records this run has to read in all; None if that is not known."""
        return None if self.total is None else max(self.read, self.total - self.done_before)

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last record; None if that is not known."""
        if self.to_do is None or not (rate := self.rate):
            return None
        return (self.to_do - self.read) / rate


class Progress:
    """Shows the counts of a run, and keeps them in `file` if there is one, until it is closed."""

    def __init__(
        self, stats: Stats, *, quiet: bool, to_stdout: bool, file: "StatsFile | None" = None
    ) -> None:
        self.stats, self.file = stats, file
        self.quiet, self.to_stdout = quiet, to_stdout
        self._line = _Line(quiet=quiet, to_stdout=to_stdout)
        if self.file:
            self.file.update()

    def show(self) -> None:
        """Brings everything up to date; cheap enough for every batch."""
        failed = self.stats.num_failed
        self._line.show(
            lambda: terminal_line(self.stats) + (f"  {failed:,} failed" if failed else ""),
            lambda: log_line(self.stats, f"{failed:,} failed"),
        )
        if self.file:
            self.file.update()

    def finish(self, state: "State") -> None:
        """The run has ended so: what `file` says from now on."""
        if self.file:
            self.file.finish(state)

    def abandon(self) -> None:
        """The run has ended by an error."""
        if self.file:
            self.file.abandon()

    def stage(self) -> "Stage":
        """Shows the stage from here on; all records are read."""
        self._line.close()
        return Stage(self.stats.command, quiet=self.quiet, to_stdout=self.to_stdout, file=self.file)

    def close(self) -> None:
        """Removes the line."""
        self._line.close()


class Stage:
    """Shows the long stages of a command, one after another."""

    def __init__(
        self, command: str, *, quiet: bool, to_stdout: bool, file: "StatsFile | None" = None
    ) -> None:
        self.command, self.quiet, self.to_stdout = command, quiet, to_stdout
        self._file = file
        self._stats = Stats(command)
        self._line = _Line(quiet=True, to_stdout=False)

    def begin(self, what: str, total: int | None = None) -> None:
        """Starts a stage of `total` parts (None: unknown) and ends the one before it."""
        self.close()
        self._stats = Stats(f"{self.command}: {what}", total=total)
        self._line = _Line(quiet=self.quiet, to_stdout=self.to_stdout)

    def advance(self, count: int = 1) -> None:
        """Adds to the number of finished parts."""
        self._stats.read += count
        self._line.show(lambda: terminal_line(self._stats), lambda: log_line(self._stats))
        if self._file is not None:
            self._file.update()

    def close(self) -> None:
        """Removes the line."""
        self._line.close()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def terminal_line(stats: Stats) -> str:
    """`transfer  412/1,204  34 %  3.4/s  eta 3m53s`."""
    done, total = f"{stats.read:,}", stats.to_do
    parts = [stats.command, f"{done}/{total:,}" if total else done]
    if total:
        parts.append(f"{100 * stats.read // total} %")
    parts.append(f"{stats.rate:,.1f}/s")
    if stats.eta_s is not None:
        parts.append(f"eta {duration(stats.eta_s)}")
    return "  ".join(parts)


def log_line(stats: Stats, *counts: str) -> str:
    """`caption 12,800/1,400,000 . 41.2/s . 3 failed . eta 9h12m`."""
    total = f"/{stats.to_do:,}" if stats.to_do else ""
    eta = [] if stats.eta_s is None else [f"eta {duration(stats.eta_s)}"]
    done = f"{stats.command} {stats.read:,}{total}"
    return " \u00b7 ".join([done, f"{stats.rate:,.1f}/s", *counts, *eta])


class _Line:
    """Drawn if a person watches this command, else printed every 30 s."""

    def __init__(self, *, quiet: bool, to_stdout: bool) -> None:
        self._quiet, self._last_s = quiet, time.monotonic()
        self._stack = ExitStack()
        self._bar: Any = None
        if not quiet and _is_watched(to_stdout):
            self._bar = self._stack.enter_context(_drawn_line())

    def show(self, on_terminal: Callable[[], str], in_log: Callable[[], str]) -> None:
        """Brings the line up to date."""
        now_s = time.monotonic()
        if self._bar is not None:
            if now_s - self._last_s >= self._bar.mininterval:
                self._last_s = now_s
                self._bar.text = on_terminal()
                self._bar.refresh()
        elif not self._quiet and now_s - self._last_s >= HEARTBEAT_S:
            self._last_s = now_s
            say(in_log())

    def close(self) -> None:
        """Removes the line."""
        self._stack.close()
        self._bar, self._quiet = None, True


@contextmanager
def _drawn_line() -> Iterator[Any]:
    """A line at the bottom of the terminal: set its `text`, then `refresh` it."""
    from tqdm import tqdm
    from tqdm.contrib import DummyTqdmFile
    from tqdm.utils import disp_trim

    class Line(tqdm):  # type: ignore[misc]
        text = ""

        def __str__(self) -> str:
            width: int | None = self.format_dict["ncols"]
            return disp_trim(self.text, width) if width else self.text

    terminal = sys.stderr
    above = DummyTqdmFile(terminal)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    handlers = [
        handler
        for logger in loggers
        for handler in getattr(logger, "handlers", ())
        if getattr(handler, "stream", None) is terminal
    ]
    with Line(file=terminal, leave=False, dynamic_ncols=True) as line:
        sys.stderr = above
        for handler in handlers:
            handler.setStream(above)
        try:
            yield line
        finally:
            terminal.write("\r\033[K")  # the whole line: the terminal may have added ^C
            sys.stderr = terminal
            for handler in handlers:
                handler.setStream(terminal)


def last_sentence(stats: Stats, errors: Path | None) -> str:
    """What the run did in one line: `caption: 12 in . 11 out . 1 failed -> x.errors.jsonl . 3s`."""
    before = f" ({stats.done_before:,} done before)" if stats.done_before else ""
    where = f" \u2192 {errors}" if stats.num_failed and errors else ""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(stats.rejected.items()))
    turned_away = [f"{stats.rejected.total():,} rejected ({reasons})"] if reasons else []
    return " \u00b7 ".join(
        [
            f"{stats.command}: {stats.read:,} in{before}",
            f"{stats.written:,} out",
            *turned_away,
            f"{stats.num_failed:,} failed{where}",
            duration(stats.seconds),
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
    return sys.stderr.isatty() and not piped and os.environ.get("TERM") != "dumb"
