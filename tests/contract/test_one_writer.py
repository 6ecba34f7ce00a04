"""An output has one writer at a time: with and without file locks, also on other hosts."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from megastyle_cli.core.owner import owner_path
from tests.conftest import Runner, draw, jsonl
from tests.fork_server import ENVIRONMENT

# A file system that refuses flock with one error, as an LD_PRELOAD library.
SHIM = "#include <errno.h>\nint flock(int f, int o) { (void)f; (void)o; errno = %s; return -1; }\n"
ON_NODE7 = ("unshare", "--uts", "sh", "-c", 'hostname node7 && exec "$@"', "-")
OWN_HOST: tuple[str, ...] = ()
LONG_AGO_S = 7200


KINDS_OF_LOCKS = ("flock", "ENOSYS", "EBADF")


@pytest.fixture
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """What the environment says of a machine with flock, and of those without."""
    if request.param == "flock":
        return {}
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source, library = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM % request.param)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


@pytest.fixture
def node7() -> Sequence[str]:
    """What starts a command on another host: one of another name, with the same files."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    if subprocess.run([*ON_NODE7, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs to make UTS namespaces")
    return ON_NODE7


class Folder:
    """Six records with their pictures, and what `caption` makes of them in one go."""

    def __init__(self, base: Path, megastyle: Runner) -> None:
        self.base = base
        for n in range(6):
            draw(n).save(base / f"{n}.png")
        self.records = jsonl(base / "in.jsonl", [{"file_name": f"{n}.png"} for n in range(6)])
        self.lines = self.records.read_bytes().splitlines(keepends=True)
        self.out = base / "out.jsonl"
        plain = megastyle("caption", self.records, "-o", base / "plain.jsonl", "-q")
        assert plain.returncode == 0, plain.stderr.decode()
        self.plain = (base / "plain.jsonl").read_bytes()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, source: object, *, words: str = "-q", host: Sequence[str] = OWN_HOST, **env: str
    ) -> "subprocess.Popen[bytes]":
        """A `caption` of `source` to the output, which continues what is there."""
        command = ("caption", source, "-o", self.out, "--resume", "--batch-size", 1, words)
        process = subprocess.Popen(
            [*host, sys.executable, "-m", "megastyle_cli", *map(str, command)],
            **dict.fromkeys(("stdin", "stderr"), subprocess.PIPE),
            cwd=self.base,
            env={**ENVIRONMENT, **env},
        )
        self._started.append(process)
        return process

    def start_and_write(
        self, count: int, *, host: Sequence[str] = OWN_HOST, **env: str
    ) -> "subprocess.Popen[bytes]":
        """One that has written `count` records and waits for more on its standard input."""
        process = self.start("-", host=host, **env)
        assert process.stdin
        process.stdin.write(b"".join(self.lines[:count]))
        process.stdin.flush()
        partial = self.out.with_name("out.jsonl.partial")
        while not partial.exists() or partial.read_bytes().count(b"\n") < count:
            assert process.poll() is None, process.communicate()[1].decode()
            time.sleep(0.02)
        return process

    def left_over(self) -> list[str]:
        """Files beside the output that a finished run does not leave."""
        ends = (".partial", ".owner", ".tmp", ".commit")
        return [path.name for path in self.base.iterdir() if path.name.endswith(ends)]

    def close(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                process.kill()
            process.communicate()


@pytest.fixture
def folder(tmp_path: Path, megastyle: Runner) -> Iterator[Folder]:
    (tmp_path / "work").mkdir()
    made = Folder(tmp_path / "work", megastyle)
    yield made
    made.close()


def end(process: "subprocess.Popen[bytes]", *lines: bytes) -> tuple[int, str]:
    """The exit code and the messages of a process that reads `lines` and then no more."""
    _, words = process.communicate(b"".join(lines))
    return process.returncode, words.decode()


@pytest.mark.parametrize("locks", KINDS_OF_LOCKS, indirect=True)
def test_of_two_writers_one_commits_and_the_other_may_try_again(
    folder: Folder, locks: dict[str, str]
) -> None:
    first = folder.start_and_write(3, **locks, SLURM_JOB_ID="7")

    second = end(folder.start(folder.records, **locks, SLURM_JOB_ID="7"))  # requeued, first lives

    assert second[0] == 75 and "another process is writing" in second[1]
    assert "Slurm job 7 on " in second[1] and not folder.out.exists()
    assert end(first, *folder.lines[3:]) == (0, "")
    assert folder.out.read_bytes() == folder.plain and folder.left_over() == []


@pytest.mark.parametrize("locks", KINDS_OF_LOCKS[:2], indirect=True)
def test_the_run_after_a_killed_one_starts_at_once(folder: Folder, locks: dict[str, str]) -> None:
    killed = folder.start_and_write(3, **locks)
    killed.kill()
    killed.wait()
    assert owner_path(folder.out).exists()

    assert end(folder.start(folder.records, **locks)) == (0, "")

    assert folder.out.read_bytes() == folder.plain and folder.left_over() == []


@pytest.mark.parametrize("locks", KINDS_OF_LOCKS[:2], indirect=True)
@pytest.mark.parametrize("has_finished", [True, False])
def test_a_writer_that_was_replaced_while_it_was_stopped_commits_nothing(
    folder: Folder, locks: dict[str, str], node7: Sequence[str], has_finished: bool
) -> None:
    stopped = folder.start_and_write(3, host=node7, **locks)
    stopped.send_signal(signal.SIGSTOP)
    refused = end(folder.start(folder.records, **locks))
    assert refused[0] == 75 and "on node7, heartbeat" in refused[1]
    long_ago = time.time() - LONG_AGO_S
    owners = list(folder.base.glob(".*.owner"))
    for path in owners:
        os.utime(path, (long_ago, long_ago))
    assert owner_path(folder.out) in owners

    if has_finished:
        assert end(folder.start(folder.records, **locks)) == (0, "")
    else:
        other = folder.start_and_write(5, **locks)  # the first three are there
    stopped.send_signal(signal.SIGCONT)
    code, words = end(stopped, *folder.lines[3:])

    assert code == 75 and "was taken over" in words
    if not has_finished:
        assert not folder.out.exists()
        assert end(other, *folder.lines[5:]) == (0, "")
    assert folder.out.read_bytes() == folder.plain and folder.left_over() == []


@pytest.fixture
def waiting(folder: Folder) -> "tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]":
    """One that writes, and one that says that it waits for it."""
    first = folder.start_and_write(3)
    second = folder.start(folder.records, words="-v", MEGASTYLE_WAIT_S="600")
    assert second.stderr
    words = second.stderr.readline()
    while b"waiting for up to 600 s" not in words:
        assert words, "the process ended"
        words = second.stderr.readline()
    return first, second


def test_one_that_waits_goes_on_when_the_first_ends(folder: Folder, waiting) -> None:
    first, second = waiting
    first.send_signal(signal.SIGTERM)
    assert first.wait() == 75

    code, _ = end(second)

    assert code == 0 and folder.out.read_bytes() == folder.plain and folder.left_over() == []


def test_a_signal_ends_the_waiting(folder: Folder, waiting) -> None:
    first, second = waiting
    second.send_signal(signal.SIGTERM)

    code, words = end(second)

    assert code == 75 and "stopped by SIGTERM" in words
    assert end(first, *folder.lines[3:]) == (0, "")
    assert folder.out.read_bytes() == folder.plain and folder.left_over() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_owner(folder: Folder, number: int) -> None:
    stopped = folder.start_and_write(3)
    stopped.send_signal(number)

    code, _ = end(stopped)

    assert code == (75 if number == signal.SIGTERM else 130)
    assert folder.left_over() == ["out.jsonl.partial"]


def test_lines_of_another_program_are_not_committed(folder: Folder) -> None:
    writer = folder.start_and_write(3)
    with folder.out.with_name("out.jsonl.partial").open("ab") as other:
        other.write(b'{"id":"other"}\n')

    code, words = end(writer, *folder.lines[3:])

    assert code == 75 and "another process has written to" in words
    assert not folder.out.exists()
