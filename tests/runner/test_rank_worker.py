"""A process that works for the first one ends with its exit code, and is not stopped by a signal.

With a first process of its own: tests/models/test_ranks.py.
"""

import os
import signal

import pytest

from megastyle_cli.core.errors import TRY_AGAIN, UNEXPECTED, MegastyleError
from megastyle_cli.runner.rank_worker import work_for_first


class First:
    """The first process, which ends in one of three ways after a signal or without."""

    def __init__(self, *, signalled: bool, code: int | None) -> None:
        self.signalled, self.code = signalled, code

    def serve(self, load):
        if self.signalled:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.code is None:
            raise MegastyleError("another process of this run has ended", exit_code=UNEXPECTED)
        return self.code


@pytest.mark.parametrize("signalled", [False, True])
@pytest.mark.parametrize("code", [0, 3, 75])
def test_the_exit_code_is_that_of_the_first(signalled: bool, code: int) -> None:
    assert work_for_first(First(signalled=signalled, code=code), lambda: None) == code


def test_a_first_process_that_was_stopped_stops_the_others() -> None:
    assert work_for_first(First(signalled=True, code=None), lambda: None) == TRY_AGAIN


def test_a_first_process_that_was_lost_is_an_error() -> None:
    with pytest.raises(MegastyleError, match="another process"):
        work_for_first(First(signalled=False, code=None), lambda: None)
