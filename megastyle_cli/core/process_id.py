"""Which process this is, so that another can tell whether it has ended; and who launched it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

ENDED_STATES = ("Z", "X")  # a zombie writes nothing; its parent has not asked for its exit code


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """A process among those of all machines, also of those that had its number before.

    `boot` and `pid_namespace` are those of Linux; where there are none, they are empty.
    """

    host: str
    boot: str
    pid_namespace: str
    pid: int
    started: int  # clock ticks after the boot; 0 if unknown

    @staticmethod
    def of_this_process() -> "ProcessId":
        """The identity of the calling process."""
        return _identity(os.getpid())

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError if `found` is not what `to_json` makes."""
        names = ("host", "boot", "pid_namespace")
        return cls(
            **{name: str(found[name]) for name in names},
            pid=int(found["pid"]),
            started=int(found["started"]),
        )

    def to_json(self) -> dict[str, Any]:
        """The fields, as values that JSON has."""
        return asdict(self)

    @property
    def is_visible(self) -> bool:
        """Whether this process can see that one: the same machine, boot and namespace of ids."""
        ours = self.of_this_process()
        return all(
            getattr(self, name) == getattr(ours, name) for name in ("host", "boot", "pid_namespace")
        )

    def has_ended(self) -> bool:
        """Whether a process that `is_visible` has ended. It has not if it is only stopped."""
        state, started = _state_of(self.pid)
        if state:
            return state in ENDED_STATES or started != self.started
        try:
            os.kill(self.pid, 0)  # /proc may hide the processes of other users
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


@cache
def _identity(pid: int) -> ProcessId:
    boot, namespace = "", ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (no file has this name)
    return ProcessId(
        host=os.uname().nodename,
        boot=boot,
        pid_namespace=namespace,
        pid=pid,
        started=_state_of(pid)[1],
    )


@cache
def launcher_cores() -> int | None:
    """The number of cores of the process that started this one as a rank of a training.

    That is the nearest ancestor without LOCAL_RANK in its environment: a script may stand between,
    and bind each rank to cores of its own. None if it cannot be seen.
    """
    pid = os.getpid()
    with suppress(OSError, IndexError, ValueError):
        while (pid := int(_fields_of(pid)[1])) > 0:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if not any(variable.startswith(b"LOCAL_RANK=") for variable in variables):
                return len(os.sched_getaffinity(pid))
    return None


def _state_of(pid: int) -> tuple[str, int]:
    """The state of a process, a letter, and the ticks at its start; ("", 0) if not to be seen."""
    try:
        fields = _fields_of(pid)
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", 0


def _fields_of(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on; then comes its parent's number."""
    # the name of the program comes before, in parentheses, and may have spaces in it
    return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
