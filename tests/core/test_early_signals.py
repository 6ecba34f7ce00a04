"""From the first lines on, a signal ends a command with the contract's exit code."""

import signal
import subprocess
import sys

import pytest

from megastyle_cli.core.errors import INTERRUPTED, TRY_AGAIN
from tests.contract.tree import ROOT

# Starts the command line in a process that sends itself signals while a module is imported.
SIGNALLED = """
import os, runpy, signal, sys

class Sender:
    def find_spec(self, name, *_):
        if name == {module!r} and not sent:
            sent.append(name)
            for number in {numbers}:
                os.kill(os.getpid(), number)

sent = []
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Sender())
sys.argv = ["megastyle", "caption", "none.png", "-o", "out.jsonl"]
runpy.run_module("megastyle_cli", run_name="__main__")
"""


def run_signalled(module: str, *numbers: int) -> tuple[int, str]:
    """The exit code and the standard error of a command that gets signals at an import."""
    script = SIGNALLED.format(module=module, numbers=[int(number) for number in numbers])
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize(
    "module",
    # the first after the handlers stand, one of the parser, one of a command
    ["megastyle_cli.app", "typer", "numpy"],
)
@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGTERM, TRY_AGAIN, "stopped by SIGTERM\n       Run it again\n"),
        (signal.SIGUSR1, TRY_AGAIN, "stopped by SIGUSR1\n       Run it again\n"),
        (signal.SIGINT, INTERRUPTED, "interrupted\n"),
    ],
)
def test_a_signal_during_imports_has_its_exit_code(
    module: str, number: int, code: int, sentence: str
) -> None:
    ended, stderr = run_signalled(module, number)

    assert ended == code
    assert stderr.startswith(f"error: {sentence}") and stderr.count("\n") <= 2


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    script = """
import os, signal
from megastyle_cli.core.early_signals import exit_on_signals
signal.signal(signal.SIGINT, signal.SIG_IGN)
exit_on_signals()
os.kill(os.getpid(), signal.SIGINT)
print("reached")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ended.stdout == "reached\n"


# Before the handlers stand a signal kills: each of these takes as long as the interpreter's start.
SLOW = {"contextlib", "enum", "importlib", "re", "signal", "typing", "typer"}
WATCH = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
from megastyle_cli.__main__ import exit_on_signals
exit_on_signals()
sys.stdout.write(" ".join(set(sys.modules) - before))
"""


def test_nothing_that_takes_long_is_imported_before_the_handlers_stand() -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-c", WATCH, ROOT], capture_output=True, text=True, check=True
    )

    imported = set(ended.stdout.split())
    assert "megastyle_cli.core.early_signals" in imported
    assert imported & SLOW == set()


# Sends a signal when modules are deleted, after Python has dropped its handlers.
SIGNALLED_AT_THE_END = """
import os, runpy, signal, sys

class Sender:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {number})

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.sender = Sender()
sys.argv = ["megastyle", "ls", "/dev/null", "-q"]
runpy.run_module("megastyle_cli", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_signal_after_the_work_does_not_replace_the_exit_code(number: signal.Signals) -> None:
    script = SIGNALLED_AT_THE_END.format(number=int(number))

    ended = subprocess.run([sys.executable, "-c", script], capture_output=True)

    assert (ended.returncode, ended.stderr) == (0, b"")
