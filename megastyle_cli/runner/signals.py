"""SIGTERM and SIGUSR1 end a run after the current batch, with exit code 75; Ctrl-C with 130."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from megastyle_cli.core.early_signals import exit_at_once
from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
Item = TypeVar("Item")


def raise_on_interrupt() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt, to close files; a second one exits at once."""
    if signal.getsignal(signal.SIGINT) is exit_at_once:
        sys.unraisablehook = _raise_again
        signal.signal(signal.SIGINT, _interrupt)


def exit_on_interrupt() -> None:
    """From here on Ctrl-C exits at once: the work is over, and libraries tidy up."""
    if signal.getsignal(signal.SIGINT) is _interrupt:
        signal.signal(signal.SIGINT, exit_at_once)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, exit_at_once)
    raise KeyboardInterrupt


class Stopped(BaseException):
    """A signal asked to stop: not an Exception, which a library's `except` could swallow."""


def interruption(error: BaseException) -> BaseException | None:
    """The interruption that `error` is, or that it replaced: libraries that are interrupted may
    raise errors of their own while they tidy up. None for any other error."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, Stopped | KeyboardInterrupt):
        found = found.__context__
    return found


def _raise_again(lost: Any) -> None:
    """Sends a signal again whose exception Python ignored: it came while an object was deleted."""
    if not isinstance(lost.exc_value, KeyboardInterrupt | Stopped):
        sys.__unraisablehook__(lost)
        return
    from threading import Timer

    number = signal.SIGINT
    if isinstance(lost.exc_value, Stopped):
        number = signal.Signals[str(lost.exc_value)]
    else:
        signal.signal(signal.SIGINT, _interrupt)
    again = Timer(0.01, os.kill, (os.getpid(), number))  # once the object is deleted
    again.daemon = True
    again.start()


class StopSignal:
    """Whether a signal asked this process to stop, and whether that interrupts it at once."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.requested = False
        self.at_once = at_once

    def next_of(self, source: Iterator[Item]) -> Item | None:
        """The next item; None at the end, or if the signal came before the item did."""
        before, self.at_once = self.at_once, True
        try:
            return None if self.requested else next(source, None)
        except Stopped:
            return None
        finally:
            self.at_once = before

    def each_of(self, results: Iterable[Item]) -> Iterator[Item]:
        """`results`; between two that are made one by one a signal raises Stopped.

        Those of a list are made already, and all are given.
        """
        if isinstance(results, Sized):
            yield from results
            return
        made = iter(results)
        while True:
            if self.requested:
                raise Stopped
            try:
                result = next(made)
            except StopIteration:
                return
            yield result


NEVER = StopSignal()  # where no signal is handled


@contextmanager
def stop_signals(
    *, at_once: bool = False, hint: str = "nothing was written, run it again"
) -> Iterator[StopSignal]:
    """Inside, a signal sets `requested`, or with `at_once` raises MegastyleError (exit code 75).

    `hint` says what to do then.
    """
    stop = StopSignal(at_once=at_once)

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        if stop.at_once:
            raise Stopped(signal.Signals(number).name)

    before: dict[int, Any] = {number: signal.signal(number, request) for number in STOP_SIGNALS}
    try:
        yield stop
    except (Stopped, Exception) as error:
        stopped = interruption(error)
        if not isinstance(stopped, Stopped):
            raise
        raise MegastyleError(f"stopped by {stopped}", hint=hint, exit_code=TRY_AGAIN) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
