"""SIGTERM and SIGUSR1: finish what is in hand, keep it, and exit with 75."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
Item = TypeVar("Item")


class _Stopped(BaseException):
    """Raised by the handler: not an Exception, which a library's `except` could swallow."""


class StopSignal:
    """Whether a signal asked this process to stop, and whether that interrupts it at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.requested = False
        self.at_once = at_once

    def next_of(self, source: Iterator[Item]) -> Item | None:
        """The next item; None at the end, or if the signal came before the item did."""
        self.at_once = True
        try:
            return None if self.requested else next(source, None)
        except _Stopped:
            return None
        finally:
            self.at_once = False


@contextmanager
def stop_signals(*, at_once: bool = False) -> Iterator[StopSignal]:
    """Inside, a signal sets `requested`, or with `at_once` raises MegastyleError (exit code 75)."""
    stop = StopSignal(at_once=at_once)

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        if stop.at_once:
            raise _Stopped(signal.Signals(number).name)

    before: dict[int, Any] = {number: signal.signal(number, request) for number in STOP_SIGNALS}
    try:
        yield stop
    except _Stopped as stopped:
        raise MegastyleError(
            f"stopped by {stopped}: nothing was written", hint="run it again", exit_code=TRY_AGAIN
        ) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
