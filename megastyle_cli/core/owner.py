"""The owner file of an output: one writer at a time, also where files have no locks.

`.NAME.owner` beside an output NAME says which process writes it: its host, process id and Slurm
job. It is a hard link to a complete file, so that it exists whole or not at all, and only one
process can make it. One thread per process renews its modification time, the heartbeat.

An owner on this machine has ended if its process has. One on another machine has ended if its
heartbeat is old by the clock of the file server and stays as it is while it is watched. What ended
is replaced; for what has not, `acquire` waits a while. An owner that was replaced although it was
only stopped finds that out when it calls `check`.

Nothing here needs flock, which some file systems lack and others have on one node only.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES, EMLINK, ENOSYS, ENOTSUP, EOPNOTSUPP, EPERM, ESTALE, EXDEV
from pathlib import Path
from threading import Thread
from typing import Any

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.process_id import ProcessId

log = logging.getLogger(__name__)

WAIT_VARIABLE = "MEGASTYLE_WAIT_S"  # seconds to wait for another process
WAIT_S = 30.0
WAIT_IN_JOB_S = 90.0  # a node that was lost is silent for a minute before its job starts again
BEAT_S = 10.0
SILENT_S = 60.0  # the age of a heartbeat that has stopped
WATCHED_S = 15.0  # longer than a beat: clocks of nodes may differ
LONG_SILENT_S = 3600.0  # longer than clocks differ
EMPTY_S = 2.0  # a file without content is being written, or was when the power was cut
NO_LINKS = (EPERM, EACCES, ENOSYS, ENOTSUP, EOPNOTSUPP, EMLINK, EXDEV)


@dataclass(frozen=True, kw_only=True)
class OwnerRecord:
    """What an owner file says."""

    process: ProcessId
    job: str = ""  # the Slurm job, with its array task: 1234_5
    restart: str = ""  # how often Slurm has started that job again
    token: str  # of this owner file only

    @classmethod
    def of_this_process(cls) -> "OwnerRecord":
        """A new record of the calling process."""
        return cls(
            process=ProcessId.of_this_process(),
            job=slurm_job(os.environ),
            restart=os.environ.get("SLURM_RESTART_COUNT", ""),
            token=os.urandom(8).hex(),
        )

    @classmethod
    def parse(cls, text: str) -> "OwnerRecord | None":
        """The record in an owner file; None if it is not one."""
        try:
            found = json.loads(text)
            return cls(
                process=ProcessId.from_json(found),
                job=str(found["job"]),
                restart=str(found["restart"]),
                token=str(found["token"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            return None

    def to_text(self) -> str:
        """The content of the owner file."""
        rest = {"job": self.job, "restart": self.restart, "token": self.token}
        return json.dumps({**self.process.to_json(), **rest}) + "\n"

    def describe(self) -> str:
        """The process for people: `Slurm job 1234_5 on node12`."""
        name = f"Slurm job {self.job}" if self.job else f"process {self.process.pid}"
        return f"{name} on {self.process.host}"


@dataclass(frozen=True)
class FoundOwner:
    """An owner file as it was read: `record` is None if it could not be, `text` neither then."""

    text: str | None
    heartbeat: float  # seconds, of the clock of the file server
    record: OwnerRecord | None

    def describe(self, age_s: float) -> str:
        """The owner for people, with the age of its heartbeat."""
        who = self.record.describe() if self.record else "a process"
        return f"{who}, heartbeat {max(0, round(age_s)):,} s ago"


class Owner:
    """The claim of this process to an output, until `release`.

    `is_takeover` says that an owner was replaced which may have been stopped only, and may go on.
    """

    def __init__(self, output: Path, path: Path, record: OwnerRecord, *, is_takeover: bool) -> None:
        self.output, self.path, self.is_takeover = output, path, is_takeover
        self._record, self._text = record, record.to_text()
        _start_heartbeat()
        _held[record.token] = self

    def check(self) -> None:
        """Raises MegastyleError (exit code 75) if this process is not the owner any more.

        It is nobody's fault if the folder was deleted, which the caller finds out.
        """
        if self._record.process.pid != os.getpid() or self._is_there():
            return
        if not self.path.parent.exists():
            return
        found = read_owner(self.path)
        by = f"by {found.record.describe()}" if found and found.record else "from this process"
        raise MegastyleError(
            f"{self.output} was taken over {by}",
            hint="this process stops and writes nothing more; run it again once that one has ended",
            exit_code=TRY_AGAIN,
        )

    def touch(self) -> None:
        """Renews the heartbeat, if the owner file is still that of this process."""
        with suppress(OSError):  # a server that does not answer now may at the next beat
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.read(handle, 4096) == self._text.encode():
                    os.utime(handle)
            finally:
                os.close(handle)

    def release(self) -> None:
        """Gives up the claim. A child of a fork has none.

        If the file stays, the next process finds that this one has ended.
        """
        if self._record.process.pid != os.getpid() or self._record.token not in _held:
            return
        del _held[self._record.token]
        _delete(self.path, self._text)

    def _is_there(self) -> bool:
        for _ in range(5):
            text = _read_text(self.path)
            if text is not None:
                return text == self._text
            time.sleep(0.05)  # one that took this file for another's puts it back
        return False


def acquire(output: Path, doing: str = "writing", path: Path | None = None) -> Owner:
    """Makes this process the owner of `output`, whose folder exists.

    `path` is another place for the owner file than beside it. Raises MegastyleError (exit code 75)
    if another process, that is `doing` something there, does not end while this one waits.
    """
    path, ours = path or owner_path(output), OwnerRecord.of_this_process()
    patience, watch, is_takeover = Patience(doing, output), _Watch(path), False
    while True:
        with _naming(output):
            found = read_owner(path)
            verdict = watch.judge(found) if found else "ended"
            if verdict != "alive":
                if _place(path, ours, found, watch):
                    return Owner(output, path, ours, is_takeover=is_takeover or verdict == "silent")
                is_takeover = is_takeover or verdict == "silent"
                time.sleep(0.01)
                continue
            assert found is not None
            age_s = watch.age_s(found)
        patience.wait(found.describe(age_s))


@contextmanager
def _naming(output: Path) -> Iterator[None]:
    """Errors raised inside name the output: nobody asked for an owner file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(output), None
        raise


def owner_path(output: Path) -> Path:
    """The name of the owner file of an output."""
    return output.with_name(f".{output.name}.owner")


def is_owner_file(path: Path) -> bool:
    """Whether a name is that of an owner file."""
    return path.name.startswith(".") and path.suffix == ".owner"


def read_owner(path: Path) -> FoundOwner | None:
    """What an owner file says now; None if there is none.

    It is opened each time, since network file systems ask the server then.
    """
    for _ in range(3):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except PermissionError:
            return FoundOwner(None, path.stat().st_mtime, None)
        try:
            text = os.read(handle, 4096).decode(errors="replace")
            return FoundOwner(text, os.fstat(handle).st_mtime, OwnerRecord.parse(text))
        except OSError as error:
            if error.errno != ESTALE:  # it was replaced on another node
                raise
        finally:
            os.close(handle)
    return None


def folder_clock(path: Path) -> float:
    """Seconds that the clock of the file server, for files beside `path`, is ahead of this one."""
    probe = path.with_name(f"{path.name}.now.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(probe, flags, 0o666)
        try:
            os.utime(handle)
            return os.fstat(handle).st_mtime - time.time()
        finally:
            os.close(handle)
            probe.unlink(missing_ok=True)
    except OSError:  # a folder that can only be read
        return 0.0


def is_alive(found: FoundOwner) -> bool:
    """Whether an owner seems to be alive, to one that only reads and does not watch it."""
    if found.record and found.record.process.is_visible:
        return not found.record.process.has_ended()
    return time.time() - found.heartbeat < SILENT_S


def slurm_job(environ: Mapping[str, str]) -> str:
    """The Slurm job of this process as squeue shows it, 1234 or 1234_5; "" outside of Slurm."""
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID", "")


class Patience:
    """A bounded wait for another process, announced once."""

    def __init__(self, doing: str, output: Path) -> None:
        self._doing, self._output = doing, output
        self._until: float | None = None
        self._pause_s = 0.05

    def wait(self, who: str) -> None:
        """Waits a moment. Raises MegastyleError (exit code 75) once the time is over."""
        wait_s = wait_limit_s()
        if self._until is None:
            self._until = time.monotonic() + wait_s
            if wait_s:
                shown = f"{self._doing} {self._output}"
                log.warning("%s is %s; waiting for up to %.0f s", who, shown, wait_s)
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise MegastyleError(
                f"another process is {self._doing} {self._output}: {who}",
                hint="run this again once it has ended, or give another -o",
                exit_code=TRY_AGAIN,
            )
        time.sleep(min(left_s, self._pause_s))
        self._pause_s = min(1.0, 2 * self._pause_s)


def wait_limit_s() -> float:
    """How long to wait for another process: WAIT_VARIABLE, else longer in a Slurm job."""
    text = os.environ.get(WAIT_VARIABLE)
    if text is None:
        return WAIT_IN_JOB_S if "SLURM_JOB_ID" in os.environ else WAIT_S
    try:
        seconds = float(text)
        if not 0 <= seconds < float("inf"):
            raise ValueError
    except ValueError:
        raise MegastyleError(
            f"{WAIT_VARIABLE} is {text!r}, not a number of seconds", hint=f"unset {WAIT_VARIABLE}"
        ) from None
    return seconds


class _Watch:
    """Judges an owner by what is seen of it over time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ahead_s: float | None = None
        self._seen: dict[str, tuple[object, float]] = {}

    def judge(self, found: FoundOwner) -> str:
        """`ended`: certainly; `silent`: nothing says that it goes on; `alive`."""
        if found.record and found.record.process.is_visible:
            if found.record.process == ProcessId.of_this_process():
                # one that is not held was copied with its folder, or could not be deleted
                return "alive" if found.record.token in _held else "ended"
            return "ended" if found.record.process.has_ended() else "alive"
        unchanged_s = self.unchanged_s("owner", (found.text, found.heartbeat))
        if found.text == "":
            return "silent" if unchanged_s > EMPTY_S else "alive"
        age_s = self.age_s(found)
        is_here = found.record is not None and found.record.process.host == os.uname().nodename
        is_silent = (
            age_s > LONG_SILENT_S
            or (age_s > SILENT_S and (is_here or unchanged_s > WATCHED_S))
            or unchanged_s > SILENT_S
        )
        return "silent" if is_silent else "alive"

    def age_s(self, found: FoundOwner) -> float:
        """How old the heartbeat is by the clock of the file server."""
        if self._ahead_s is None:
            self._ahead_s = folder_clock(self._path)
        return time.time() + self._ahead_s - found.heartbeat

    def unchanged_s(self, what: str, value: object) -> float:
        """For how long `what` has been seen with this value."""
        now = time.monotonic()
        if self._seen.get(what, (None,))[0] != value:
            self._seen[what] = (value, now)
        return now - self._seen[what][1]


def _place(path: Path, record: OwnerRecord, ended: FoundOwner | None, watch: _Watch) -> bool:
    """Makes the owner file, in place of the one that has `ended`, if any; whether it is ours now.

    The temporary file is made by one process at a time, so that the file that is replaced is still
    the one that has ended.
    """
    temporary = path.with_name(f"{path.name.removesuffix('.owner')}.own.tmp")
    try:
        _write_new(temporary, record.to_text())
    except FileExistsError:
        _remove_abandoned(temporary, watch)
        return False
    try:
        found = _read_text(path)
        if found is None:
            _link(temporary, path, record.to_text())
        elif ended and found == ended.text:
            temporary.replace(path)
    except (FileExistsError, FileNotFoundError):
        pass  # another process was faster, or thought that this one had been killed
    finally:
        _delete(temporary, record.to_text())
    # read, since a network file system may report an error for a link that was made
    return _read_text(path) == record.to_text()


def _delete(path: Path, text: str) -> None:
    """Deletes a file that still says `text`; if that fails, the next process finds it ended."""
    for _ in range(2):  # a disk or a network file system may refuse once
        with suppress(OSError):
            if _read_text(path) == text:
                path.unlink(missing_ok=True)
            return


def _link(temporary: Path, path: Path, text: str) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _write_new(path, text)


def _write_new(path: Path, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        os.write(handle, text.encode())
    except OSError:
        path.unlink()
        raise
    finally:
        os.close(handle)


def _remove_abandoned(temporary: Path, watch: _Watch) -> None:
    """Deletes a temporary file of a process that was killed: others need it for milliseconds."""
    found = read_owner(temporary)
    if found and (
        (found.record is not None and watch.judge(found) == "ended")
        or watch.unchanged_s("temporary", (found.text, found.heartbeat)) > EMPTY_S
    ):
        temporary.unlink(missing_ok=True)


def _read_text(path: Path) -> str | None:
    found = read_owner(path)
    return found.text if found else None


_held: dict[str, Owner] = {}  # by token
_thread: list[Any] = []  # the heartbeat, once it has started


def _start_heartbeat() -> None:
    if not _thread:
        _thread.append(Thread(target=_beat, name="heartbeat", daemon=True))
        _thread[0].start()


def _beat() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
    while True:
        time.sleep(BEAT_S)
        for owner in list(_held.values()):
            owner.touch()


def _forget() -> None:
    _held.clear()
    _thread.clear()


os.register_at_fork(after_in_child=_forget)
