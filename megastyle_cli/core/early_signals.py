"""What signals do until a job handles them.

Until these handlers stand a signal kills the process with a code that schedulers do not requeue,
so this module imports as little as it can.
"""

# not `signal`, whose enumerations take as long to import as all that comes before
import _signal  # type: ignore[import-not-found]
import os

from megastyle_cli.core.errors import INTERRUPTED, TRY_AGAIN

NAMES = {_signal.SIGTERM: "SIGTERM", _signal.SIGUSR1: "SIGUSR1"}


def exit_on_signals() -> None:
    """Until a job handles them, signals end this process at once with the contract's exit code.

    Nothing has been written then, and an exception could be lost in a library that is imported.
    Signals that are ignored, as Ctrl-C is in a shell's background, stay ignored.
    """
    for number in (*NAMES, _signal.SIGINT):
        if _signal.getsignal(number) in (_signal.SIG_DFL, _signal.default_int_handler):
            _signal.signal(number, exit_at_once)


def ignore_signals() -> None:
    """From here on the exit code stands: Python drops its handlers before the process ends, and a
    signal would replace the code of a run that has written everything."""
    for number in (*NAMES, _signal.SIGINT):
        if _signal.getsignal(number) is exit_at_once:
            _signal.signal(number, _signal.SIG_IGN)


def exit_at_once(number: int, frame: object) -> None:
    """The handler: one sentence, as errors have it, and the end of the process."""
    stopped = f"stopped by {NAMES[number]}\n       Run it again" if number in NAMES else ""
    at_start = "\r\033[K" if os.isatty(2) else ""  # a line of progress may stand there
    try:
        os.write(2, f"{at_start}error: {stopped or 'interrupted'}\n".encode())
    finally:  # whatever has become of standard error
        os._exit(TRY_AGAIN if stopped else INTERRUPTED)
