"""Atomic writes: a file or folder appears under its final name complete, or not at all.

Nothing else in the package renames files. `atomic_path`, `atomic_open` and `atomic_write` write
beside the target and rename; `AtomicFile` and `ResumableFile` are outputs written line by line as
NAME.partial, by one process at a time.

A symbolic link is followed: its target is replaced, and the link stays. A stream (see `file_kind`)
is written as it is.

`durable` says whether the content reaches the disk before the new name does. Without it a write is
still atomic when the process is killed, but not when the machine loses power.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EACCES, EISDIR
from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream, link_target, open_stream
from megastyle_cli.core.record import Record


@contextmanager
def atomic_path(
    final: Path, *, durable: bool, shared: bool = False, replaces_link: bool = False
) -> Iterator[Path]:
    """A path beside `final` for a file, folder or link that is renamed to `final` at the end.

    If the block raises, what it made is deleted and what stood at `final` remains. A folder that
    is replaced remains until the new one is complete: it is moved aside first, and if the process
    is killed between these two renames, the next call for `final` moves it back. With `shared`
    several processes may write `final` at once, and the last one stands. With `replaces_link` a
    link at `final` is replaced itself. Raises OSError with the name of `final`.
    """
    if is_stream(final):
        with _path_for_stream(final) as temporary:
            yield temporary
        return
    final = final if replaces_link else link_target(final)
    temporary = final.with_name(f".{final.name}{f'.{os.getpid()}' if shared else ''}.tmp")
    old = final.with_name(f".{final.name}.old")
    _move_back(old, final)
    remove(temporary)
    try:
        with with_path(final, instead_of=temporary):
            yield temporary
            if durable and not temporary.is_symlink():
                _sync_tree(temporary)
            if final.is_dir() and not final.is_symlink():
                if not temporary.is_dir():
                    raise IsADirectoryError(EISDIR, "is a directory", str(final))
                final.rename(old)
            temporary.replace(final)
            if durable:
                _sync_folder(final.parent)
    except BaseException:
        remove(temporary)
        _move_back(old, final)
        raise
    remove(old)


@contextmanager
def atomic_open(final: Path, *, durable: bool) -> Iterator[BinaryIO]:
    """A binary file to write that gets the name `final` at the end; see `atomic_path`."""
    if is_stream(final):
        with with_path(final), open_stream(final, "wb") as stream:
            yield stream
        return
    with atomic_path(final, durable=durable) as temporary, temporary.open("wb") as file:
        yield file


def atomic_write(final: Path, content: str | bytes, *, durable: bool) -> None:
    """Writes `content` (text as UTF-8) to `final`; see `atomic_path`."""
    with atomic_open(final, durable=durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def move_into_place(source: Path, final: Path, *, durable: bool) -> None:
    """Renames `source` to `final`, replacing a file that is there."""
    final = link_target(final)
    if durable:
        _sync(source)
    source.replace(final)
    if durable:
        _sync_folder(final.parent)


def flush_to_disk(file: BinaryIO) -> None:
    """Returns once what was written to an open file is on disk."""
    file.flush()
    os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Deletes a file, a link or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def partial_path(final: Path) -> Path:
    """The name of an output while it is written: NAME.partial."""
    final = link_target(final)
    return final.with_name(f"{final.name}.partial")


class _PartialFile:
    """Lines written to NAME.partial, under a lock, until `commit` gives them the final name."""

    def __init__(self, final: Path) -> None:
        self.final = final
        self.done: Counter[str] = Counter()
        self._file: BinaryIO | None = None

    def write(self, line: bytes) -> None:
        """Adds a line."""
        if self._file is None:
            self._file = self._open_partial()
        with with_path(self.final):
            self._file.write(line)

    def flush(self) -> None:
        """Makes what was written readable by others."""
        if self._file is not None:
            with with_path(self.final):
                self._file.flush()

    def commit(self) -> None:
        """Gives the file its final name, once its content is on disk."""
        if self._file is not None:
            self.flush()
            with with_path(self.final):
                move_into_place(partial_path(self.final), self.final, durable=True)
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Closes the file without giving it the final name."""
        if self._file is not None:
            with with_path(self.final):
                self._file.close()

    def _open_partial(self) -> BinaryIO:
        return open_locked(partial_path(self.final))


class AtomicFile(_PartialFile):
    """Lines that appear as a whole: until `commit`, what stood at `final` remains.

    `compressor` makes what compresses into an open file. Its lines can be read only once they are
    committed, since its bytes would otherwise depend on when they were flushed.
    """

    def __init__(
        self,
        final: Path,
        *,
        overwrite: bool,
        compressor: Callable[[BinaryIO], BinaryIO] | None = None,
    ) -> None:
        super().__init__(final)
        self.overwrite, self._compressor = overwrite, compressor
        self._compressed: BinaryIO | None = None

    def open(self) -> None:
        """Raises before any work is done if the file exists or its folder is not writable."""
        if self.final.exists() and not self.overwrite:
            raise MegastyleError(f"{self.final} exists", hint="add --overwrite to replace it")
        ensure_writable(link_target(self.final).parent)

    def write(self, line: bytes) -> None:
        """Adds a line."""
        super().write(b"" if self._compressor else line)
        if self._compressor and self._file:
            self._compressed = self._compressed or self._compressor(self._file)
            with with_path(self.final):
                self._compressed.write(line)

    def commit(self) -> None:
        """Gives the file, even an empty one, its final name."""
        self.write(b"")
        if self._compressed is not None:
            with with_path(self.final):
                self._compressed.close()
            self._compressed = None
        super().commit()

    def close(self) -> None:
        """Deletes what was written since the last commit."""
        if self._compressed is not None:
            with suppress(OSError):  # a full disk
                self._compressed.close()
        if self._file is not None:
            partial_path(self.final).unlink(missing_ok=True)
        super().close()

    def _open_partial(self) -> BinaryIO:
        file = super()._open_partial()
        file.truncate(0)  # left by a run that was killed
        return file


class ResumableFile(_PartialFile):
    """Lines that a later run can continue; `done` counts the ids written by earlier runs."""

    def __init__(self, final: Path, *, resume: bool, overwrite: bool) -> None:
        super().__init__(final)
        self.resume, self.overwrite = resume, overwrite

    def existing(self) -> Path | None:
        """What an earlier run left: the finished file or the partial one."""
        return next((p for p in (self.final, partial_path(self.final)) if p.exists()), None)

    def open(self) -> None:
        """Continues an existing output, or starts again. Raises MegastyleError if not asked to."""
        before = self.existing()
        if before and not (self.resume or self.overwrite):
            raise MegastyleError(
                f"{before} exists",
                hint="add --resume to continue it or --overwrite to start again",
            )
        ensure_writable(link_target(self.final).parent)
        if before and self.resume:
            self.done = count_ids(before)
            if before == self.final:
                return  # it keeps its name until there is a line to add
        self._file = super()._open_partial()
        if before and self.resume:
            drop_incomplete_line(self._file)
        else:
            link_target(self.final).unlink(missing_ok=True)
            self._file.truncate(0)

    def _open_partial(self) -> BinaryIO:
        """Reopens a finished file, which is called partial again from its first new line on."""
        move_into_place(link_target(self.final), partial_path(self.final), durable=False)
        file = super()._open_partial()
        drop_incomplete_line(file)
        return file


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


def ensure_writable(folder: Path) -> None:
    """Makes the folder. Raises PermissionError now, not after hours of work."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(EACCES, "permission denied", str(folder))


def count_ids(
    path: Path, key: Callable[[Record], str] = lambda record: str(record["id"])
) -> Counter[str]:
    """How often each id, or value of `key`, occurs in the complete lines of the output at `path`.

    Raises MegastyleError if a complete line is not a record with an id: the file is then not an
    output of these commands.
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
                    hint="correct it, or --overwrite to start again",
                ) from None
    return ids


def drop_incomplete_line(file: BinaryIO) -> None:
    """Cuts off a last line that has no newline."""
    file.seek(0)
    file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
    file.seek(0, os.SEEK_END)


@contextmanager
def _path_for_stream(final: Path) -> Iterator[Path]:
    """A path for a file that is copied to the stream `final` at the end."""
    with tempfile.TemporaryDirectory(prefix="megastyle-") as folder:
        yield (temporary := Path(folder, final.name))
        with with_path(final), temporary.open("rb") as made, open_stream(final, "wb") as stream:
            shutil.copyfileobj(made, stream)


def _move_back(old: Path, final: Path) -> None:
    if old.exists() and not final.exists():
        old.rename(final)
    remove(old)


def _sync_tree(path: Path) -> None:
    for inner in [*path.rglob("*"), path]:
        _sync(inner)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems cannot sync a folder
        _sync(folder)
