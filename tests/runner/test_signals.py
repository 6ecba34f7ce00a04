"""A signal ends a wait for input at once, and other work after what is in hand."""

import os
import signal
from collections.abc import Iterator

import pytest

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.runner.signals import STOP_SIGNALS, stop_signals


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


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_at_once_a_signal_ends_everything_with_exit_code_75(number: signal.Signals) -> None:
    with pytest.raises(MegastyleError, match=number.name) as caught, stop_signals(at_once=True):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal must end the block")
    assert caught.value.exit_code == TRY_AGAIN


def test_handlers_are_those_of_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in STOP_SIGNALS]

    with stop_signals():
        assert [signal.getsignal(number) for number in STOP_SIGNALS] != before

    assert [signal.getsignal(number) for number in STOP_SIGNALS] == before
