"""What happens in a command's process before the command: its TMPDIR, and a fault to come.

The fork server runs `main`. The fault is one at the k-th operation on files in the working folder
or in TMPDIR: opening to write, renaming, removing, truncating, making a folder, changing a mode,
syncing. Operations of libraries that are not written in Python are not seen.
"""

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = {
    *("os.rename", "os.remove", "os.truncate", "os.mkdir", "os.rmdir", "os.chmod"),
    *("os.symlink", "os.link"),
}


def main(tmp: str, fault: str = "", point: str = "0", log: str = "") -> None:
    """Sets TMPDIR; has operation number `point` end in `fault`, or writes all of them to `log`.

    `fault` is "kill" or the name of an error, such as ENOSPC.
    """
    os.environ["TMPDIR"] = tmp
    tempfile.tempdir = None
    if log:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _observe(tmp, lambda name: _write(file, name))
    elif fault:
        _observe(tmp, _Fault(fault, int(point)))


class _Fault:
    def __init__(self, fault: str, point: int) -> None:
        self.fault, self.left = fault, point

    def __call__(self, name: str) -> None:
        self.left -= 1
        if self.left:
            return
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number), name.partition(" ")[2])


def _write(file: int, name: str) -> None:
    os.write(file, f"{name}\n".encode())


def _observe(tmp: str, on_operation: Callable[[str], None]) -> None:
    """Calls `on_operation` with the name and file of each operation, before it happens."""
    inside = (f"{Path.cwd()}/", f"{tmp}/")

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            flags = arguments[2]
            is_open = isinstance(arguments[0], int)  # by an operation that was seen before
            if is_open or not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in EVENTS:
            return
        target = arguments[0]
        if isinstance(target, bytes):
            target = os.fsdecode(target)
        if isinstance(target, str) and not os.path.abspath(target).startswith(inside):  # noqa: PTH100
            return
        on_operation(f"{event} {target}")

    sync = os.fsync

    def fsync(file: Any) -> None:
        on_operation(f"os.fsync {file}")
        sync(file)

    os.fsync = fsync
    sys.addaudithook(audit)
