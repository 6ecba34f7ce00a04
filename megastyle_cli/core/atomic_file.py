"""Atomic writes: a file or folder appears under its final name complete, or not at all.

Besides the locks, nothing else in the package renames files. `atomic_path`, `atomic_open` and
`atomic_write` write beside the target and rename, a `FileGroup` does so for many files at once;
`AtomicFile` and `ResumableFile` are outputs written line by line as NAME.partial, by one process at
a time.

A symbolic link is followed: its target is replaced, and the link stays. A stream (see `file_kind`)
is written as it is.

Content is on disk before it gets its name, and the name is on disk before the call returns: neither
a kill nor a power cut leaves half a file. Temporary files are created anew, so that no link that
somebody put there is followed.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from errno import EISDIR
from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.errors import TRY_AGAIN, UNEXPECTED, MegastyleError
from megastyle_cli.core.file_kind import is_stream, link_target, open_stream, with_path
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.locked_file import PARTIAL, LockedFile, open_locked, own
from megastyle_cli.core.owner import Owner
from megastyle_cli.core.record import Record

SYNC_THREADS = 16  # a disk makes syncs that wait together durable together


@contextmanager
def atomic_path(final: Path, *, writer: str = "", replaces_link: bool = False) -> Iterator[Path]:
    """A path beside `final` for a file, folder or link that is renamed to `final` at the end.

    If the block raises, what it made is deleted and what stood at `final` remains. A folder that
    is replaced remains until the new one is complete: it is moved aside first, and if the process
    is killed between these two renames, the next call for `final` moves it back. Processes that
    may write `final` at once have a `writer` each, and the last one stands. With `replaces_link` a
    link at `final` is replaced itself. Raises OSError with the name of `final`.
    """
    if is_stream(final):
        with _path_for_stream(final) as temporary:
            yield temporary
        return
    final = final if replaces_link else link_target(final)
    temporary = temporary_path(final, writer)
    old = final.with_name(f".{final.name}.old")
    _move_back(old, final)
    remove(temporary)
    try:
        with with_path(final, instead_of=temporary):
            yield temporary
            for inner in temporary.rglob("*"):
                _sync(inner)
            if final.is_dir() and not final.is_symlink():
                if not temporary.is_dir():
                    raise IsADirectoryError(EISDIR, "is a directory", str(final))
                final.rename(old)
            _sync(temporary)
            temporary.replace(final)
            _sync_folder(final.parent)
    except BaseException:
        remove(temporary)
        _move_back(old, final)
        raise
    remove(old)


def temporary_path(final: Path, writer: str = "") -> Path:
    """Where `atomic_path` writes; a process that is killed leaves it behind."""
    return final.with_name(f".{final.name}{writer and f'.{writer}'}.tmp")


@contextmanager
def atomic_open(final: Path) -> Iterator[BinaryIO]:
    """A binary file to write that gets the name `final` at the end; see `atomic_path`."""
    if is_stream(final):
        with with_path(final), open_stream(final, "wb") as stream:
            yield stream
        return
    with atomic_path(final) as temporary, temporary.open("xb") as file:
        yield file


def atomic_write(final: Path, content: str | bytes) -> None:
    """Writes `content` (text as UTF-8) to `final`; see `atomic_path`."""
    with atomic_open(final) as file:
        file.write(content.encode() if isinstance(content, str) else content)


class FileGroup:
    """Files that get their final names together, once all of them are on disk.

    Files are synced side by side while others are made, which takes little longer than one sync.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(SYNC_THREADS)  # starts a thread only when it needs one
        self._syncs: list[Future[None]] = []
        self._temporary: dict[Path, Path] = {}  # by final name
        self._folders: set[Path] = set()  # where names were added

    @contextmanager
    def open(self, final: Path) -> Iterator[BinaryIO]:
        """A binary file to write that `commit` gives the name `final`."""
        self._make_folder(final.parent)
        temporary = final.with_name(f".{final.name}.tmp")
        remove(temporary)
        with with_path(final, instead_of=temporary), temporary.open("xb") as file:
            self._temporary[final] = temporary
            yield file
        self._syncs.append(self._pool.submit(_sync, temporary))

    def rename(self, final: Path, new: Path) -> None:
        """Changes the final name of a file; if it has it already, also for the next `commit`."""
        if final in self._temporary:
            self._temporary[new] = self._temporary.pop(final)
        else:
            final.replace(new)
            self._folders.add(new.parent)

    def commit(self) -> None:
        """Returns once all files are on disk under their final names."""
        for sync in self._syncs:
            sync.result()
        for final, temporary in self._temporary.items():
            temporary.replace(final)
            self._folders.add(final.parent)
        list(self._pool.map(_sync_folder, self._folders))
        self._syncs, self._temporary, self._folders = [], {}, set()

    def close(self) -> None:
        """Deletes the files that have no final name."""
        self._pool.shutdown()
        for temporary in self._temporary.values():
            remove(temporary)

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            self._folders.add(folder.parent)


def move_into_place(source: Path, final: Path) -> None:
    """Renames `source` to `final`, replacing a file that is there, once it is on disk."""
    final = link_target(final)
    _sync(source)
    source.replace(final)
    _sync_folder(final.parent)


def _move_own_file(file: LockedFile, source: Path, final: Path) -> None:
    """As `move_into_place`, for an open file, if this process is its only writer until the end."""
    _sync(source)
    file.check()
    is_ours = file.is_at(source)
    if is_ours:
        source.replace(final)
        is_ours = file.is_at(final)
        if not is_ours:  # another process took over between these lines: that file is its own
            final.replace(source)
    if not is_ours:
        raise MegastyleError(
            f"another process is writing {source}",
            hint="run this again once it has ended",
            exit_code=TRY_AGAIN,
        )
    _sync_folder(final.parent)


def flush_to_disk(file: BinaryIO, path: Path) -> None:
    """Returns once what was written to the open file at `path` is on disk."""
    file.flush()
    _check_not_deleted(file, path)
    os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Deletes a file, link or folder, if it exists; it is never visible in part."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not is_temporary(path):
        temporary = path.with_name(f".{path.name}.tmp")
        remove(temporary)
        path = path.rename(temporary)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # a disk or a network file system may refuse once
        shutil.rmtree(path, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether a name is one that a killed write leaves behind and the next one cleans up."""
    return path.name.startswith(".") and path.suffix in (".tmp", ".old")


@contextmanager
def committing(finals: Sequence[Path]) -> Iterator[None]:
    """Inside, the outputs of one run get their final names, in this order.

    Once the last one has its name, all have. If the process is killed before, a note beside the
    last one names the others; `is_uncommitted` reads it.
    """
    *others, last = finals
    for path in others:
        if is_uncommitted(path, last):  # else a new note would make it forgotten
            path.unlink()
    if others:
        stamps = {os.path.relpath(p, last.parent): _stamp(partial_path(p)) for p in others}
        atomic_write(_note(last), json.dumps(stamps))
    yield
    _delete_note(last)  # also that of a run that was killed just before


def _delete_note(last: Path) -> None:
    """Deletes the note beside `last`: all have their names. If it stays, the next run does."""
    for _ in range(2):  # a disk or a network file system may refuse once
        with suppress(OSError):
            _note(last).unlink(missing_ok=True)


def delete_stale_note(last: Path) -> None:
    """Deletes the note of a run that was killed when `last` already had its name."""
    if last.exists() and not partial_path(last).exists():
        _delete_note(last)


def is_uncommitted(path: Path, last: Path | None) -> bool:
    """Whether a killed run renamed `path` to its final name, but not `last`, its last output."""
    if last is None or last.exists() or not _note(last).exists():
        return False
    stamps = read_object(_note(last))
    return path.exists() and stamps.get(os.path.relpath(path, last.parent)) == _stamp(path)


def partial_path(final: Path) -> Path:
    """The name of an output while it is written: NAME.partial."""
    final = link_target(final)
    return final.with_name(f"{final.name}{PARTIAL}")


class _PartialFile:
    """Lines written to NAME.partial, under a lock, until `commit` gives them the final name.

    A process that another one has replaced as the owner of the output finds it out at its next
    `flush` or `commit`, which then raise MegastyleError (exit code 75) and change nothing. So they
    do if another process has written to the file.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self.done: Counter[str] = Counter()
        self._file: LockedFile | None = None
        self._is_filled_in_place = False

    def write(self, line: bytes) -> None:
        """Adds a line."""
        if self._file is None:
            self._file = self._open_partial()
        with with_path(self.final):
            self._file.write(line)

    def flush(self) -> None:
        """Makes what was written readable by others."""
        if self._file is not None:
            self._file.check()
            with with_path(self.final):
                self._file.flush()
            _check_not_deleted(self._file, partial_path(self.final))
            if not self._is_filled_in_place:
                self._file.check_size()

    def commit(self) -> None:
        """Gives the file its final name, once its content is on disk."""
        if self._file is not None:
            self.flush()
            with with_path(self.final):
                _move_own_file(self._file, partial_path(self.final), link_target(self.final))
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Closes the file without giving it the final name."""
        if self._file is not None:
            with with_path(self.final):
                self._file.close()
            self._file = None

    def _open_partial(self) -> LockedFile:
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
        """Raises before any work is done if the file exists, is being written, or cannot be."""
        delete_stale_note(self.final)
        if not self.overwrite:
            check_new(self.final)
        ensure_writable(link_target(self.final).parent)
        self._file = self._open_partial()
        if not self.overwrite and link_target(self.final).exists():  # made while this one waited
            self.close()
            check_new(self.final)

    def fill_in_place(self) -> Path:
        """The path of the file, for code that writes it by name: no line is written then."""
        self._is_filled_in_place = True
        return partial_path(self.final)

    def write(self, line: bytes) -> None:
        """Adds a line."""
        super().write(b"" if self._compressor else line)
        if self._compressor and self._file:
            self._compressed = self._compressed or self._compressor(self._file)
            with with_path(self.final):
                self._compressed.write(line)

    def finish(self) -> None:
        """Writes the last bytes, those of a compressor too; no line follows."""
        self.write(b"")
        if self._compressed is not None:
            with with_path(self.final):
                self._compressed.close()
            self._compressor = self._compressed = None
        self.flush()

    def commit(self) -> None:
        """Gives the file, even an empty one, its final name."""
        self.finish()
        super().commit()

    def close(self) -> None:
        """Deletes what was written since the last commit."""
        if self._compressed is not None:
            with suppress(OSError):  # a full disk
                self._compressed.close()
        if self._file is not None and self._file.is_at(partial_path(self.final)):
            partial_path(self.final).unlink()
        super().close()

    def _open_partial(self) -> LockedFile:
        file = super()._open_partial()
        file.truncate(0)  # left by a run that was killed
        return file


class ResumableFile(_PartialFile):
    """Lines that a later run can continue; `done` counts the ids written by earlier runs."""

    def __init__(self, final: Path, *, resume: bool, overwrite: bool) -> None:
        super().__init__(final)
        self.resume, self.overwrite = resume, overwrite
        self._owner: Owner | None = None

    def existing(self) -> Path | None:
        """The output of an earlier run: the finished file or the partial one."""
        return next((p for p in (self.final, partial_path(self.final)) if p.exists()), None)

    def lock(self) -> None:
        """Makes this process the only writer, before anything of an earlier run is read.

        Raises MegastyleError if there is an output and no flag says what to do with it, or if
        another process is writing it.
        """
        if self._owner is not None:
            return
        self._check_flags()
        ensure_writable(link_target(self.final).parent)
        self._owner = own(partial_path(self.final))
        try:
            self._check_flags()  # another process may have ended just now
        except BaseException:
            self.close()
            raise

    def open(self) -> None:
        """Continues an existing output or starts again; raises MegastyleError without a flag."""
        self.lock()
        before = self.existing()
        if before and self.resume:
            self.done = count_ids(before)
            if before == self.final:
                return  # it keeps its name until there is a line to add
        self._file = open_locked(partial_path(self.final), self._owner)
        if before and self.resume:
            drop_incomplete_line(self._file)
        else:
            link_target(self.final).unlink(missing_ok=True)
            self._file.truncate(0)

    def commit(self) -> None:
        """Gives the file its final name, once its content is on disk."""
        super().commit()
        self._release()

    def close(self) -> None:
        """Closes the file without giving it the final name."""
        try:
            super().close()
        finally:
            self._release()

    def _open_partial(self) -> LockedFile:
        """Reopens a finished file, which is called partial again from its first new line on."""
        self.lock()
        assert self._owner is not None
        self._owner.check()
        move_into_place(link_target(self.final), partial_path(self.final))
        file = open_locked(partial_path(self.final), self._owner)
        drop_incomplete_line(file)
        return file

    def _check_flags(self) -> None:
        before = self.existing()
        if before and not (self.resume or self.overwrite):
            raise MegastyleError(
                f"{before} exists",
                hint="add --resume to continue it or --overwrite to start again",
            )

    def _release(self) -> None:
        if self._owner is not None:
            self._owner.release()
            self._owner = None


def check_new(path: Path) -> None:
    """Raises MegastyleError if there is something at `path`."""
    if path.exists():
        raise MegastyleError(f"{path} exists", hint="add --overwrite to replace it")


def ensure_writable(folder: Path) -> None:
    """Makes the folder. Raises MegastyleError now, not after hours of work, if it is read-only."""
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise MegastyleError(
            f"the folder {folder.absolute()} is not writable", hint="write to another folder"
        )


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
                    f"{path} line {number} is not a record with an id",
                    hint="fix it, or add --overwrite to start again",
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


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _note(last: Path) -> Path:
    return last.with_name(f".{last.name}.commit")


def _move_back(old: Path, final: Path) -> None:
    if old.exists() and not final.exists():
        old.rename(final)
    remove(old)


def _check_not_deleted(file: BinaryIO, path: Path) -> None:
    if os.fstat(file.fileno()).st_nlink == 0:
        if isinstance(file, LockedFile):
            file.check()  # another process may have taken over since the last check
        raise MegastyleError(
            f"{path} was deleted while it was being written",
            hint="run it again",
            exit_code=UNEXPECTED,
        )


def _sync(path: Path) -> None:
    if path.is_symlink():
        return  # its name is all there is to it
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some network file systems cannot sync a folder
        _sync(folder)
