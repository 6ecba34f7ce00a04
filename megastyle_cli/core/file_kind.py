"""What kind of file a path is: a regular file or folder, or a stream that bytes only pass through.

A stream (FIFO, device, socket, /dev/stdin, `<(...)`) is opened once, is read as JSON lines, and is
written as it comes: it has no size, no content to go back to, and is never renamed or replaced.
"""

import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import BinaryIO, Literal

STDIN, STDOUT = 0, 1
_STANDARD = {"stdin": 0, "stdout": 1, "stderr": 2}
_DESCRIPTOR = re.compile(r"/dev/(stdin|stdout|stderr)|/(?:dev|proc/self)/fd/(\d+)")
_MAX_LINKS = 40  # as in Linux
_TERMINALS = (4, 5, *range(136, 144))  # major numbers of Linux: consoles, /dev/tty, terminals


def descriptor_of(path: str | Path) -> int | None:
    """The open file of this process that a path names, as /dev/fd/3 does; None of other files."""
    path = Path(path)
    with suppress(OSError, ValueError):  # no file name: text, for example
        return _descriptor_of(path)
    return None


def _descriptor_of(path: Path) -> int | None:
    for _ in range(_MAX_LINKS):
        if match := _DESCRIPTOR.fullmatch(os.path.abspath(path)):  # noqa: PTH100  no links followed
            return int(match[2] or _STANDARD[match[1]])
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def is_stdin(name: str) -> bool:
    """Whether an input is standard input."""
    return name == "-" or descriptor_of(name) == STDIN


def is_stdout(name: str) -> bool:
    """Whether an output is standard output."""
    return name == "-" or descriptor_of(name) == STDOUT


def is_stream_input(name: str) -> bool:
    """Whether an input is standard input or another stream."""
    return name == "-" or is_stream(name)


def is_stream(path: str | Path) -> bool:
    """Whether bytes only pass through the file; False if there is none."""
    with suppress(OSError, ValueError):  # nothing there, or no file name
        if _is_file_or_folder(os.lstat(path)):  # as most are, which one call shows
            return False
        descriptor = descriptor_of(path)
        found = os.stat(path) if descriptor is None else os.fstat(descriptor)  # noqa: PTH116
        is_own = descriptor is not None and not stat.S_ISDIR(found.st_mode)
        return is_own or not _is_file_or_folder(found)
    return False


def _is_file_or_folder(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)


def is_endless(path: str | Path) -> bool:
    """Whether the file is a device other than a terminal and /dev/null, such as /dev/zero or a
    disk: reading its lines might never end."""
    found = Path(path).stat()
    if stat.S_ISCHR(found.st_mode):
        is_terminal = os.major(found.st_rdev) in _TERMINALS
        return not is_terminal and found.st_rdev != Path(os.devnull).stat().st_rdev
    return stat.S_ISBLK(found.st_mode)


def open_stream(path: str | Path, mode: Literal["rb", "wb"]) -> BinaryIO:
    """The stream at `path`; opening a FIFO waits for its other end."""
    descriptor = descriptor_of(path)
    if descriptor is not None:
        # not opened by its name: that would start at the first byte of a redirected file again
        return os.fdopen(os.dup(descriptor), mode)
    if stat.S_ISSOCK(Path(path).stat().st_mode):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return connection.makefile(mode)
    return Path(path).open(mode)


def require_regular(path: str | Path) -> None:
    """Raises OSError if there is a stream at `path`: reading one could block forever."""
    if is_stream(path):
        raise OSError(EINVAL, "is not a regular file", str(path))


@contextmanager
def with_path(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Errors raised inside name `path`: those without a file name, as of a full disk, and those
    of the file `instead_of`."""
    try:
        yield
    except OSError as error:
        if not error.filename or (instead_of and instead_of.name in str(error.filename)):
            error.filename, error.filename2 = str(path), None
        raise


def link_target(path: Path) -> Path:
    """The file that a symbolic link leads to, existing or not; `path` itself for other files."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path
