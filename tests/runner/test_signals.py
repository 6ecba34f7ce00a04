"""A signal ends a wait for input at once, and other work after what is in hand."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from megastyle_cli.core.errors import INTERRUPTED, TRY_AGAIN, MegastyleError
from megastyle_cli.runner.signals import STOP_SIGNALS, Stopped, interruption, stop_signals


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_while_waiting_for_input_stops_at_once(number: signal.Signals) -> None:
    def waiting() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), number)
        raise AssertionError("the signal must end the wait")

    with stop_signals() as stop:
        source = waiting()
        assert [stop.next_of(source), stop.next_of(source), stop.next_of(source)] == [1, None, None]
        assert stop.requested


def test_what_is_made_one_by_one_ends_at_a_signal() -> None:
    asked, given = [], []

    def made() -> Iterator[int]:
        for number in range(9):
            asked.append(number)
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield number

    with stop_signals() as stop, pytest.raises(Stopped):
        given += stop.each_of(iter([7]))
        for number in stop.each_of(made()):
            given.append(number)

    assert given == [7, 0, 1, 2, 3] and asked == [0, 1, 2, 3]


def test_a_list_is_made_already_and_given_whole_in_spite_of_a_signal() -> None:
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert list(stop.each_of([1, 2, 3])) == [1, 2, 3]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_at_once_a_signal_ends_everything_with_exit_code_75(number: signal.Signals) -> None:
    with pytest.raises(MegastyleError, match=number.name) as caught, stop_signals(at_once=True):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal must end the block")
    assert caught.value.exit_code == TRY_AGAIN


@contextmanager
def tidied_up_with_an_error() -> Iterator[None]:
    """As a library that is interrupted, whose file is then shorter than it counts on."""
    try:
        yield
    finally:
        raise RuntimeError("unexpected pos 136576 vs 132368")


def test_a_signal_is_not_hidden_by_an_error_while_a_library_tidies_up() -> None:
    with (
        pytest.raises(MegastyleError, match="stopped by SIGTERM") as caught,
        stop_signals(at_once=True),
        tidied_up_with_an_error(),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == TRY_AGAIN


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError), stop_signals(at_once=True), tidied_up_with_an_error():
        pass


def test_an_interruption_is_found_behind_the_errors_that_followed_it() -> None:
    with pytest.raises(RuntimeError) as caught, tidied_up_with_an_error():
        raise KeyboardInterrupt

    assert isinstance(interruption(caught.value), KeyboardInterrupt)
    assert interruption(RuntimeError()) is None


def test_handlers_are_those_of_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]

    with stop_signals():
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before

    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before


def test_a_second_interrupt_stops_at_once() -> None:
    script = """
import os, signal
from megastyle_cli.core.early_signals import exit_on_signals
from megastyle_cli.runner.signals import raise_on_interrupt
exit_on_signals()
raise_on_interrupt()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (INTERRUPTED, "")


def test_ctrl_c_after_the_work_exits_at_once() -> None:
    script = """
import os, signal
from megastyle_cli.core.early_signals import exit_on_signals
from megastyle_cli.runner.signals import exit_on_interrupt, raise_on_interrupt
exit_on_signals()
raise_on_interrupt()
exit_on_interrupt()
os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert (ended.returncode, ended.stdout) == (INTERRUPTED, "")
    assert ended.stderr == "error: interrupted\n"


WHILE_DELETING = """
import os, signal, sys, time
from megastyle_cli.core.early_signals import exit_on_signals
from megastyle_cli.runner.signals import raise_on_interrupt, stop_signals

class Deleted:
    def __del__(self):
        os.kill(os.getpid(), signal.Signals[sys.argv[1]])

exit_on_signals()
raise_on_interrupt()
try:
    with stop_signals(at_once=True):
        Deleted()
        time.sleep(60)
except BaseException as ended:
    sys.stdout.write(f"{ended!r}")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_an_object_is_deleted_is_not_lost(name: str) -> None:
    """Python only reports what is raised there, and goes on."""
    ended = subprocess.run(
        [sys.executable, "-c", WHILE_DELETING, name], capture_output=True, check=True, timeout=50
    )

    expected = {"SIGINT": "KeyboardInterrupt()", "SIGTERM": "MegastyleError('stopped by SIGTERM"}
    assert ended.stdout.decode().startswith(expected[name])
    assert ended.stderr == b""
