"""The last line holds every count; what is written during a run stands above its line."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.runner.progress import (
    Progress,
    Stats,
    duration,
    last_sentence,
    log_line,
    terminal_line,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (9.94, "9.9s"),
        (12.4, "12s"),
        (312, "5m12s"),
        (3600, "1h00m"),
        (32_940, "9h09m"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def counted() -> Stats:
    stats = Stats("caption", done_before=2)
    for result in ({"id": "a"}, {"id": "b"}, Failure({"id": "c"}, "bad_image", "c is cut off")):
        stats.add(result)
    stats.reject("blank")
    return stats


def test_the_last_sentence_holds_every_count() -> None:
    sentence = last_sentence(counted(), Path("x.errors.jsonl"))

    assert sentence.startswith(
        "caption: 4 in (2 done before) \u00b7 2 out \u00b7 1 rejected (1 blank) \u00b7"
        " 1 failed \u2192 x.errors.jsonl \u00b7 "
    )


def test_without_a_terminal_a_line_comes_only_after_half_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stats = counted()
    stats.total = 10
    progress = Progress(stats, quiet=False, to_stdout=False)

    progress.show()
    assert capsys.readouterr().err == ""
    progress._line._last_s -= 31
    progress.show()

    assert capsys.readouterr().err.startswith("caption 4/8 \u00b7 ")


def test_what_is_left_after_a_resume_is_what_this_run_has_to_do() -> None:
    stats = Stats("transfer", done_before=36, read=412, total=1240)
    stats.started_s -= 412 / 3.4

    assert re.sub("3m5[123]s", "3m52s", terminal_line(stats)) == (
        "transfer  412/1,204  34 %  3.4/s  eta 3m52s"
    )
    assert log_line(stats, "3 failed").startswith(
        "transfer 412/1,204 \u00b7 3.4/s \u00b7 3 failed \u00b7 eta 3m5"
    )
    assert terminal_line(Stats("pair", read=7)).startswith("pair  7  ")


WRITING = """
import logging, sys
from megastyle_cli.runner.progress import Progress
from megastyle_cli.runner.progress import Stats
log = logging.getLogger("a.library")
log.addHandler(logging.StreamHandler())
stats = Stats("caption", total=3)
progress = Progress(stats, quiet=False, to_stdout=False)
for number in range(3):
    stats.read += 1
    progress._line._last_s = 0
    progress.show()
    log.warning("warned %d", number)
    print("printed", number, file=sys.stderr)
progress.close()
sys.stderr.write("the end\\n")
"""


def test_on_a_terminal_nothing_is_glued_to_the_line() -> None:
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        environment = {**os.environ, "TERM": "xterm"}
        command = [sys.executable, "-c", WRITING]
        with subprocess.Popen(command, stderr=follower, stdout=subprocess.DEVNULL, env=environment):
            os.close(follower)
            written = b""
            with suppress(OSError):  # EIO: the other side has closed
                while block := os.read(leader, 4096):
                    written += block
    finally:
        os.close(leader)

    # what stands before a carriage return is overwritten by what follows it
    lines = [line.rpartition("\r")[2].rstrip() for line in written.decode().split("\r\n")]
    assert lines == [
        *(line for number in range(3) for line in (f"warned {number}", f"printed {number}")),
        "the end",
        "",
    ]
    assert b"caption  3/3  100 %  " in written


def test_the_rate_and_the_time_left_count_the_work_of_this_run_alone() -> None:
    """A run that took 100 s to skip 900 records, and then 10 s for 20 of the other 100."""
    stats = Stats("caption", total=1000, done_before=900)
    stats.started_s -= 110
    stats.begin_work()
    stats.work_began = (stats.started_s + 100, 0)
    stats.read = 20

    assert 1.9 < stats.rate <= 2
    assert stats.to_do == 100 and 40 <= (stats.eta_s or 0) < 42


def test_what_failed_before_the_work_began_does_not_speed_it_up() -> None:
    stats = Stats("caption", total=10, read=4)
    stats.begin_work()
    stats.begin_work()

    assert stats.rate == 0 and stats.eta_s is None
