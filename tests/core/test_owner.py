"""Owner files: one writer of an output, found out and replaced once it has ended."""

import errno
import logging
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core import owner as owner_module
from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.owner import (
    WAIT_IN_JOB_S,
    WAIT_S,
    WAIT_VARIABLE,
    OwnerRecord,
    acquire,
    folder_clock,
    is_alive,
    is_owner_file,
    owner_path,
    read_owner,
    slurm_job,
    wait_limit_s,
)
from megastyle_cli.core.process_id import ProcessId


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    yield
    for owner in list(owner_module._held.values()):
        owner.release()


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """Another process of this machine."""
    started = subprocess.Popen(["sleep", "600"])
    yield started
    started.kill()
    started.wait()


def record_of(pid: int, **changes: Any) -> OwnerRecord:
    """What a process of this machine would write to its owner file."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ours = ProcessId.of_this_process()
    record = OwnerRecord(process=replace(ours, pid=pid, started=int(stat[19])), token=f"t{pid}")
    return replace(record, **changes)


def elsewhere(**changes: Any) -> OwnerRecord:
    """The owner file of a Slurm job on another node."""
    process = replace(ProcessId.of_this_process(), host="node7", boot="another")
    return OwnerRecord(process=process, job="12_3", token="other", **changes)


def write_owner(output: Path, record: OwnerRecord, age_s: float = 0.0) -> Path:
    path = owner_path(output)
    path.write_text(record.to_text())
    now = time.time() - age_s
    os.utime(path, (now, now))
    return path


def test_an_owner_file_says_who_writes_and_goes_with_the_claim(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    owner = acquire(output)

    found = read_owner(owner_path(output))
    assert found and found.record and found.record.process == ProcessId.of_this_process()
    assert found.record.job == "8" and is_alive(found) and is_owner_file(owner.path)
    owner.check()
    assert [path.name for path in output.parent.iterdir()] == [".out.jsonl.owner"]

    owner.release()
    assert list(output.parent.iterdir()) == []


def test_an_owner_that_lives_is_waited_for_and_named(
    output: Path,
    process: "subprocess.Popen[bytes]",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = write_owner(output, record_of(process.pid, job="7_1"), age_s=7200)
    monkeypatch.setenv(WAIT_VARIABLE, "0.1")

    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(MegastyleError, match="another process is writing .*out.jsonl") as caught,
    ):
        acquire(output)

    assert caught.value.exit_code == TRY_AGAIN and "Slurm job 7_1" in caught.value.message
    assert len(caplog.messages) == 1 and "Slurm job 7_1 on" in caplog.messages[0]
    assert "waiting for up to" in caplog.messages[0] and "heartbeat 7,2" in caplog.text
    assert [path] == list(output.parent.iterdir())


def test_an_owner_that_was_killed_is_replaced_at_once(
    output: Path, process: "subprocess.Popen[bytes]"
) -> None:
    write_owner(output, record_of(process.pid))
    process.kill()
    process.wait()

    owner = acquire(output)

    assert not owner.is_takeover
    owner.check()


def test_the_file_of_this_process_copied_with_its_folder_is_no_owner(tmp_path: Path) -> None:
    first = acquire(tmp_path / "x")
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / ".x.owner").write_text(first.path.read_text())
    first.release()

    acquire(tmp_path / "copy" / "x").check()


@pytest.mark.parametrize(("age_s", "is_replaced"), [(0, False), (100, False), (7200, True)])
def test_an_owner_elsewhere_is_judged_by_its_heartbeat(
    output: Path, age_s: float, is_replaced: bool
) -> None:
    write_owner(output, elsewhere(), age_s)

    if is_replaced:
        assert acquire(output).is_takeover
    else:  # at 100 s: only after it has been watched, since clocks may differ
        with pytest.raises(MegastyleError, match="Slurm job 12_3 on node7, heartbeat"):
            acquire(output)


def test_a_silent_owner_elsewhere_is_replaced_once_it_was_watched(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_owner(output, elsewhere(), age_s=100)
    monkeypatch.setenv(WAIT_VARIABLE, "60")
    monkeypatch.setattr(owner_module, "WATCHED_S", 0.1)

    assert acquire(output).is_takeover


def test_a_heartbeat_that_moves_is_alive_whatever_the_clock_says(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, beats = write_owner(output, elsewhere(), age_s=100), iter(range(10**9))
    monkeypatch.setenv(WAIT_VARIABLE, "0.5")
    monkeypatch.setattr(owner_module, "WATCHED_S", 0.2)
    monkeypatch.setattr(owner_module, "WAIT_S", 0.5)
    sleep = time.sleep

    def beat(seconds: float) -> None:
        late = time.time() - 100 + next(beats)
        os.utime(path, (late, late))
        sleep(min(seconds, 0.1))

    monkeypatch.setattr(time, "sleep", beat)
    with pytest.raises(MegastyleError, match="node7"):
        acquire(output)


def test_a_file_without_content_was_left_by_a_power_cut(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner_path(output).touch()
    monkeypatch.setenv(WAIT_VARIABLE, "60")
    monkeypatch.setattr(owner_module, "EMPTY_S", 0.1)

    assert acquire(output).is_takeover


@pytest.mark.parametrize("refused", [".out.jsonl.own.tmp", ".out.jsonl.owner"])
def test_its_files_are_deleted_though_the_disk_fails_once(
    output: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    delete, errors = Path.unlink, iter([OSError(errno.EIO, "Input/output error")])

    def fail_once(path: Path, missing_ok: bool = False) -> None:
        for error in errors if path.name == refused else ():
            raise error
        delete(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail_once)
    acquire(output).release()

    assert next(errors, None) is None  # it was met
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("is_replaced", [True, False])
def test_an_owner_that_was_replaced_finds_it_out(output: Path, is_replaced: bool) -> None:
    owner = acquire(output)
    owner.path.unlink()
    if is_replaced:
        write_owner(output, elsewhere())

    with pytest.raises(MegastyleError, match=r"out\.jsonl was taken over") as caught:
        owner.check()

    assert caught.value.exit_code == TRY_AGAIN
    assert ("Slurm job 12_3 on node7" in caught.value.message) is is_replaced
    before = owner.path.stat().st_mtime_ns if is_replaced else None
    owner.touch()
    owner.release()
    assert owner.path.exists() is is_replaced
    assert before is None or owner.path.stat().st_mtime_ns == before


def test_the_heartbeat_of_what_is_held_moves(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "BEAT_S", 0.01)
    monkeypatch.setattr(owner_module, "_thread", [])  # one that has not begun a longer pause
    owner = acquire(output)
    os.utime(owner.path, (0, 0))

    while owner.path.stat().st_mtime == 0:
        time.sleep(0.01)

    assert abs(owner.path.stat().st_mtime - time.time()) < 60


def test_a_child_of_a_fork_owns_nothing(output: Path) -> None:
    owner = acquire(output)
    child = os.fork()
    if not child:
        owner.check()
        owner.release()
        os._exit(0)

    assert os.waitpid(child, 0)[1] == 0
    assert owner.path.exists()
    owner.check()


def test_of_many_that_replace_an_owner_one_wins(tmp_path: Path) -> None:
    forks = multiprocessing.get_context("fork")
    for attempt in range(4):
        output = tmp_path / f"{attempt}"
        write_owner(output, elsewhere(), age_s=7200)
        start, tried, results = forks.Barrier(6), forks.Barrier(6), forks.Queue()
        rivals = [
            forks.Process(target=_try_to_acquire, args=(output, start, tried, results))
            for _ in range(6)
        ]
        for rival in rivals:
            rival.start()
        won = [results.get() for _ in rivals]
        for rival in rivals:
            rival.join()

        assert sorted(map(str, won)) == ["False"] * 5 + ["True"]
        assert not owner_path(output).exists()


def _try_to_acquire(output: Path, start: Any, tried: Any, results: Any) -> None:
    start.wait()
    try:
        owner = acquire(output)
    except MegastyleError:
        owner = None
    tried.wait()
    try:
        if owner:
            owner.check()  # the others have tried
            owner.release()
        results.put(owner is not None)
    except MegastyleError as error:
        results.put(error.message)


def test_one_that_replaces_an_ended_owner_too_late_leaves_the_next(output: Path) -> None:
    path = write_owner(output, elsewhere(), age_s=7200)
    ended, late = read_owner(path), OwnerRecord.of_this_process()
    next_owner = acquire(output)

    assert not owner_module._place(path, late, ended, owner_module._Watch(path))

    next_owner.check()
    assert list(output.parent.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_no_hard_links_are_needed(
    output: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "link", no_links)
    write_owner(output, elsewhere(), age_s=7200)
    owner = acquire(output)

    owner.check()
    assert [path.name for path in output.parent.iterdir()] == [".out.jsonl.owner"]
    owner.release()
    assert list(output.parent.iterdir()) == []


def test_a_link_whose_answer_was_lost_counts(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)  # as a network file system may repeat a request

    monkeypatch.setattr(os, "link", link_twice)

    acquire(output).check()


def test_a_temporary_file_of_a_killed_process_is_in_nobodys_way(
    output: Path, process: "subprocess.Popen[bytes]"
) -> None:
    record = record_of(process.pid)
    process.kill()
    process.wait()
    output.with_name(".out.jsonl.own.tmp").write_text(record.to_text())

    acquire(output).check()

    assert [path.name for path in output.parent.iterdir()] == [".out.jsonl.owner"]


def test_an_error_names_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        acquire(tmp_path / "none" / "x")

    assert caught.value.filename == str(tmp_path / "none" / "x")


def test_the_clock_of_a_folder_is_that_of_its_files(output: Path) -> None:
    assert abs(folder_clock(owner_path(output))) < 60
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "8"}, "8"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "3"}, "8_3"),
    ],
)
def test_a_job_is_called_as_squeue_does(environ: dict[str, str], job: str) -> None:
    assert slurm_job(environ) == job


def test_a_job_waits_longer_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WAIT_VARIABLE, "2.5")
    assert wait_limit_s() == 2.5
    monkeypatch.setenv(WAIT_VARIABLE, "soon")
    with pytest.raises(MegastyleError, match=r"MEGASTYLE_WAIT_S is 'soon'"):
        wait_limit_s()

    monkeypatch.delenv(WAIT_VARIABLE)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert wait_limit_s() == WAIT_S
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert wait_limit_s() == WAIT_IN_JOB_S
