"""Files that are whole under their final name: NAME.partial while written, one writer at a time."""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES
from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record


def partial_path(final: Path) -> Path:
    """What `final` is called while it is written."""
    return final.with_name(f"{final.name}.partial")


class AtomicFile:
    """All or nothing: until `commit`, what stood there before still stands."""

    def __init__(self, final: Path, *, overwrite: bool) -> None:
        self.final, self.overwrite = final, overwrite
        self.done: Counter[str] = Counter()
        self._file: BinaryIO | None = None

    def open(self) -> None:
        """Refuses an existing file, and a folder nobody may write in, before any work is done."""
        if self.final.exists() and not self.overwrite:
            raise MegastyleError(f"{self.final} exists", hint="add --overwrite to replace it")
        ensure_writable(self.final.parent)

    def write(self, line: bytes) -> None:
        """Adds a line."""
        if self._file is None:
            self._file = open_locked(partial_path(self.final))
            self._file.truncate(0)  # what a killed run left is of no use
        with with_path(self.final):
            self._file.write(line)

    def flush(self) -> None:
        """Makes what was written readable by others."""
        if self._file is not None:
            with with_path(self.final):
                self._file.flush()

    def commit(self) -> None:
        """Gives it the final name."""
        self.write(b"")
        assert self._file is not None
        commit_partial(self._file, self.final)
        self._file = None

    def close(self) -> None:
        """Without a commit before: leaves no trace."""
        if self._file is not None:
            partial_path(self.final).unlink(missing_ok=True)
            with with_path(self.final):
                self._file.close()


class ResumableFile:
    """Grows batch by batch and can be continued; `done` counts the ids it holds from before."""

    def __init__(self, final: Path, *, resume: bool, overwrite: bool) -> None:
        self.final, self.resume, self.overwrite = final, resume, overwrite
        self.done: Counter[str] = Counter()
        self._file: BinaryIO | None = None

    def existing(self) -> Path | None:
        """What an earlier run left: the finished file or the partial one."""
        return next((p for p in (self.final, partial_path(self.final)) if p.exists()), None)

    def open(self) -> None:
        """Refuses an existing output, or goes on with it, or starts again."""
        before = self.existing()
        if before and not (self.resume or self.overwrite):
            raise MegastyleError(
                f"{before} exists",
                hint="add --resume to continue it or --overwrite to start again",
            )
        ensure_writable(self.final.parent)
        if before and self.resume:
            self.done = count_ids(before)
            if before == self.final:
                return  # extended when there is something to add
        self._file = open_locked(partial_path(self.final))
        if before and self.resume:
            drop_incomplete_line(self._file)
        else:
            self.final.unlink(missing_ok=True)
            self._file.truncate(0)

    def write(self, line: bytes) -> None:
        """Adds a line; a finished file is called partial again from its first new line on."""
        if self._file is None:
            self.final.rename(partial_path(self.final))
            self._file = open_locked(partial_path(self.final))
            drop_incomplete_line(self._file)
        with with_path(self.final):
            self._file.write(line)

    def flush(self) -> None:
        """Makes what was written readable by others."""
        if self._file is not None:
            with with_path(self.final):
                self._file.flush()

    def commit(self) -> None:
        """Gives it the final name."""
        if self._file is not None:
            commit_partial(self._file, self.final)
            self._file = None

    def close(self) -> None:
        """Without a commit before: leaves the partial file, to be resumed."""
        if self._file is not None:
            with with_path(self.final):
                self._file.close()


def open_locked(path: Path) -> BinaryIO:
    """The file at `path` for appending. Raises MegastyleError if another process is writing it.

    The lock ends with the process, however it ends, and nothing waits for it.
    """
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except BlockingIOError:
        is_ours = False
    except OSError:
        is_ours = True  # a file system without locks
    if not is_ours:
        file.close()
        raise MegastyleError(
            f"another process is writing {path}", hint="wait for it, or give another name"
        )
    return file


def commit_partial(file: BinaryIO, final: Path) -> None:
    """Gives a partial file, once it is safe on disk, its final name."""
    with with_path(final):
        file.flush()
        os.fsync(file.fileno())
    partial_path(final).replace(final)
    file.close()


@contextmanager
def with_path(path: Path) -> Iterator[None]:
    """What fails inside is told of `path`: a full disk names no file."""
    try:
        yield
    except OSError as fault:
        fault.filename = fault.filename or str(path)
        raise


def ensure_writable(folder: Path) -> None:
    """Makes the folder. Raises PermissionError now, not after hours of work."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(EACCES, "permission denied", str(folder))


def count_ids(
    path: Path, key: Callable[[Record], str] = lambda record: str(record["id"])
) -> Counter[str]:
    """How often each id, or what `key` gives, stands in the whole lines of the output at `path`.

    Raises MegastyleError if a whole line is not a record with an id: then it is no output of ours.
    """
    ids: Counter[str] = Counter()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n") or not line.strip():
                continue
            try:
                ids[key(json.loads(line))] += 1
            except (ValueError, TypeError, KeyError):
                raise MegastyleError(
                    f"{path} line {number} is no record with an id",
                    hint="mend it, or --overwrite to start again",
                ) from None
    return ids


def drop_incomplete_line(file: BinaryIO) -> None:
    """Cuts off a last line that has no end."""
    file.seek(0)
    file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
    file.seek(0, os.SEEK_END)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which has the name `path` once the block has ended well; else no trace."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """`text` under `path`, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        with with_path(path):
            unfinished.write_text(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
