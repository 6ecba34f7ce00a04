"""A file that one process at a time appends to, by an owner file and, where there is one, flock."""

import fcntl
import io
import os
import shutil
from pathlib import Path

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.owner import Owner, Patience, acquire

PARTIAL = ".partial"


class LockedFile(io.BufferedRandom):
    """An open file to append to; closing it ends the lock."""

    def __init__(self, raw: io.FileIO, path: Path, owner: Owner, *, releases: bool) -> None:
        super().__init__(raw)
        self.path, self.owner = path, owner
        self.size = os.fstat(raw.fileno()).st_size  # with what is not flushed yet
        self._releases = releases

    def write(self, data: "io.ReadableBuffer") -> int:  # type: ignore[name-defined]
        """Adds bytes at the end."""
        written = super().write(data)
        self.size += written
        return written

    def truncate(self, size: int | None = None) -> int:
        """Cuts the file off at `size`, by default where it is read or written next."""
        self.size = super().truncate(size)
        return self.size

    def check(self) -> None:
        """Raises MegastyleError (exit code 75) if another process has taken the output over."""
        self.owner.check()

    def check_size(self) -> None:
        """Raises MegastyleError (exit code 75) if another process has written to the file."""
        self.flush()
        found = os.fstat(self.fileno()).st_size
        if found != self.size:
            raise MegastyleError(
                f"another process has written to {self.path}: it has {found:,} bytes instead of"
                f" {self.size:,}",
                hint="--overwrite starts again, once no other process writes it",
                exit_code=TRY_AGAIN,
            )

    def is_at(self, path: Path) -> bool:
        """Whether `path` is a name of this file."""
        return path.exists() and os.path.samestat(path.stat(), os.fstat(self.fileno()))

    def close(self) -> None:
        """Closes the file and ends the lock."""
        try:
            super().close()
        finally:
            if self._releases:
                self.owner.release()


def open_locked(path: Path, owner: Owner | None = None) -> LockedFile:
    """The file at `path` for appending, which this process alone writes.

    It is that of an output NAME or NAME.partial, whose `owner` this process may be already; else
    it is until the file is closed. Raises MegastyleError (exit code 75) if another process does not
    end within a bounded wait.
    """
    held = owner or own(path)
    try:
        return _open(path, held, releases=owner is None)
    except BaseException:
        if owner is None:
            held.release()
        raise


def own(path: Path) -> Owner:
    """Makes this process the owner of the output whose file, perhaps a partial one, is `path`.

    If the owner before may be stopped only, the file is copied: what that one may still write goes
    to a file without a name.
    """
    owner = acquire(path.with_name(path.name.removesuffix(PARTIAL)))
    try:
        if owner.is_takeover:
            copy_in_place(path)
    except BaseException:
        owner.release()
        raise
    return owner


def copy_in_place(path: Path) -> None:
    """Replaces a file, if it exists, by a copy of it, which no other process has open."""
    if path.is_symlink() or not path.is_file():
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with path.open("rb") as source, temporary.open("xb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        shutil.copymode(path, temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open(path: Path, owner: Owner, *, releases: bool) -> LockedFile:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    patience = Patience("writing", path)
    while True:
        raw = io.FileIO(os.open(path, flags, 0o666), "a+")
        try:
            if lock(raw.fileno()):
                file = LockedFile(raw, path, owner, releases=releases)
                if file.is_at(path):
                    file.seek(0, os.SEEK_END)
                    return file
        except BaseException:
            raw.close()
            raise
        raw.close()
        patience.wait("it holds a lock on the file")


def lock(handle: int) -> bool:
    """Locks an open file where the file system has locks; False if another process has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here (ENOSYS, ENOLCK), or not for this handle (EBADF on NFS)
    return True
