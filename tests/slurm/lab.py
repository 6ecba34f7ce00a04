"""A Slurm cluster for tests, on this machine and for the time of a session: submit, wait, look.

`machine.py` runs it in namespaces of its own, which commands enter. Nothing of it is left when it
has ended, and nothing outlives the process that started it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "unshare", "nsenter")
NAMESPACES = ("--mount", "--pid", "--net", "--uts")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"}
NUM_NODES = 4


@dataclass(frozen=True, kw_only=True)
class Task:
    """What Slurm says of a job, or of one task of an array."""

    number: int | None  # in its array
    state: str
    exit_code: int
    restarts: int
    node: str

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def obstacle() -> str | None:
    """Why there can be no such cluster here, if so."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        return f"{', '.join(missing)} not installed: run tests/slurm/install.sh as root"
    if os.geteuid() != 0:
        return "only root can start a Slurm cluster"
    try_out = ["unshare", *NAMESPACES, "--fork", "--mount-proc", "true"]
    if subprocess.run(try_out, capture_output=True, check=False).returncode != 0:
        return "this container allows no namespaces"
    return None


class Lab:
    """A running cluster of nodes n0, n1, ..., of two CPUs each.

    Jobs of the partition `low` (the default) are preempted at once and queued again, those of
    `grace` 20 s after a signal; those of `high` preempt them.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))  # short: sockets are in it
        self.scratch = self.folder / "scratch"  # another one on each node
        self.env = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        machine = Path(__file__).with_name("machine.py")
        command = [sys.executable, "-I", str(machine), str(self.folder), str(NUM_NODES)]
        flags = (*NAMESPACES, "--fork", "--kill-child", "--mount-proc")
        with (self.folder / "machine.out").open("wb") as log:
            self._machine = subprocess.Popen(
                ["unshare", *flags, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self.env,
                start_new_session=True,  # Ctrl-C is for the tests, which then end this
            )
        try:
            wait_until(self._is_idle, 60, self.logs)
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Ends the cluster with all that runs there, and removes its files."""
        assert self._machine.stdin
        self._machine.stdin.close()
        self._machine.wait()
        shutil.rmtree(self.folder)

    def run(self, *command: object, cwd: Path | None = None, **env: str) -> str:
        """The standard output of a command in the cluster; it must end with 0."""
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children")
        first = children.read_text().split()[0]
        enter = ["nsenter", f"--target={first}", *NAMESPACES, "env", "-C", str(cwd or "/")]
        done = subprocess.run(
            [*enter, *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**self.env, **env},
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout

    def submit(self, *arguments: object, cwd: Path, **env: str) -> int:
        """The number of the job that `sbatch ARGUMENTS` in the folder `cwd` makes."""
        return int(self.run("sbatch", "--parsable", *arguments, cwd=cwd, **env))

    def tasks(self, job: int) -> list[Task]:
        """The tasks of an array, or the one of another job."""
        listing = self.run("scontrol", "show", "job", "-o", job)
        return sorted(map(_parsed, listing.splitlines()), key=lambda task: task.number or 0)

    def wait(self, *jobs: int, timeout_s: int = 240) -> list[Task]:
        """The tasks of these jobs after all of them have ended for good."""

        def ended() -> bool:
            return all(task.has_ended for job in jobs for task in self.tasks(job))

        wait_until(ended, timeout_s, lambda: "\n".join(str(self.tasks(job)) for job in jobs))
        return [task for job in jobs for task in self.tasks(job)]

    def wait_for(self, job: int, state: str, timeout_s: int = 60) -> None:
        """Waits until a task of the job is in this state."""

        def is_there() -> bool:
            return any(task.state == state for task in self.tasks(job))

        wait_until(is_there, timeout_s, lambda: str(self.tasks(job)))

    def kill_node(self, name: str) -> None:
        """Kills the daemon of a node; its jobs live on."""
        self.run("kill", "-9", (self.folder / f"{name}.pid").read_text().strip())

    def start_node(self, name: str) -> None:
        """Starts the daemon of a node again."""
        assert self._machine.stdin
        self._machine.stdin.write(f"{name}\n".encode())
        self._machine.stdin.flush()

    def logs(self) -> str:
        """The ends of all logs."""
        files = sorted((*self.folder.glob("*.log"), *self.folder.glob("*.out")))
        return "\n".join(f"{file.name}: {file.read_text()[-1500:]}" for file in files)

    def _is_idle(self) -> bool:
        assert self._machine.poll() is None, self.logs()
        try:
            states = self.run("sinfo", "--noheader", "--Node", "-p", "low", "-o", "%t").split()
        except (AssertionError, OSError, IndexError):  # slurmctld is not there yet
            return False
        return states == ["idle"] * NUM_NODES


def wait_until(is_true: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    """Waits for a condition; `otherwise` says what is there if it never holds."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.2)


def _parsed(line: str) -> Task:
    values = dict(word.partition("=")[::2] for word in line.split())
    number = values.get("ArrayTaskId", "")
    return Task(
        number=int(number) if number.isdecimal() else None,
        state=values["JobState"],
        exit_code=int(values["ExitCode"].partition(":")[0]),
        restarts=int(values["Restarts"]),
        node=values["NodeList"],
    )
