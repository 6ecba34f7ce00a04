"""Atomic writes: complete under the final name or absent, whatever ends the writer."""

import errno
import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from megastyle_cli.core.atomic_file import (
    AtomicFile,
    FileGroup,
    ResumableFile,
    atomic_open,
    atomic_path,
    atomic_write,
    committing,
    delete_stale_note,
    flush_to_disk,
    is_uncommitted,
    move_into_place,
    partial_path,
    remove,
)
from megastyle_cli.core.errors import TRY_AGAIN, UNEXPECTED, MegastyleError
from megastyle_cli.core.file_kind import with_path
from megastyle_cli.core.locked_file import open_locked
from tests.core.test_owner import elsewhere, write_owner
from tests.streams import read_while


def write_folder(path: Path, text: str) -> None:
    with atomic_path(path) as new:
        new.mkdir()
        (new / "weights").write_text(text)


def write_file(path: Path, text: str) -> None:
    atomic_write(path, text)


def write_link(path: Path, text: str) -> None:
    with atomic_path(path, replaces_link=True) as new:
        new.symlink_to(text)


Write = Callable[[Path, str], None]


@pytest.mark.parametrize("write", [write_file, write_folder, write_link])
def test_the_new_replaces_the_old_and_leaves_nothing_beside(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "x", "old")
    write(tmp_path / "x", "new")

    assert read(tmp_path / "x") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def read(path: Path) -> str:
    if path.is_symlink():
        return str(path.readlink())
    return (path / "weights" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_and_nothing_beside(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    write_folder(tmp_path / "folder", "old")
    write_file(tmp_path / "file", "old")

    with pytest.raises(stop), atomic_path(tmp_path / "folder") as new:
        new.mkdir()
        (new / "weights").write_text("half")
        raise stop
    with pytest.raises(stop), atomic_open(tmp_path / "file") as file:
        file.write(b"half")
        raise stop

    assert read(tmp_path / "folder") == read(tmp_path / "file") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize("renames", range(2))
def test_a_kill_between_renames_leaves_a_complete_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    final = tmp_path / "lora"
    write_folder(final, "old")
    left, originals = [renames], {name: getattr(Path, name) for name in ("rename", "replace")}

    def killed(name: str) -> Callable[[Path, Path], Path]:
        def move(self: Path, target: Path) -> Path:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            moved: Path = originals[name](self, target)
            return moved

        return move

    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        for name in originals:
            patch.setattr(Path, name, killed(name))
        write_folder(final, "new")

    with suppress(OSError), atomic_path(final):
        raise OSError(errno.ENOSPC, "no space left on device")  # the next call, on a full disk
    assert read(final) == "old"
    write_folder(final, "new")
    assert read(final) == "new"
    assert list(tmp_path.iterdir()) == [final]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was synced, and renames, in order."""
    calls: list[str] = []
    sync, replace = os.fsync, Path.replace

    def observed_sync(handle: int) -> None:
        calls.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        sync(handle)

    def observed_replace(self: Path, target: Path) -> Path:
        calls.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", observed_sync)
    monkeypatch.setattr(Path, "replace", observed_replace)
    return calls


def test_content_is_synced_before_the_rename(tmp_path: Path, calls: list[str]) -> None:
    atomic_write(tmp_path / "x", b"1")
    assert calls == [f"{tmp_path}/.x.tmp", "rename", str(tmp_path)]

    calls.clear()
    (tmp_path / "y.partial").write_bytes(b"1")
    move_into_place(tmp_path / "y.partial", tmp_path / "y")
    assert calls == [f"{tmp_path}/y.partial", "rename", str(tmp_path)]

    calls.clear()
    output = AtomicFile(tmp_path / "z", overwrite=False)
    output.write(b"1\n")
    output.commit()
    assert calls == [f"{tmp_path}/z.partial", "rename", str(tmp_path)]


def test_a_group_of_files_is_synced_before_the_first_rename(
    tmp_path: Path, calls: list[str]
) -> None:
    group = FileGroup()
    for name in ("new/a", "new/b"):
        with group.open(tmp_path / name) as file:
            file.write(b"1")
    assert not (tmp_path / "new" / "a").exists()

    group.commit()

    folder = f"{tmp_path}/new"
    assert sorted(calls[:2]) == [f"{folder}/.a.tmp", f"{folder}/.b.tmp"]
    assert calls[2:4] == ["rename"] * 2 and sorted(calls[4:]) == [str(tmp_path), folder]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a", "b"]


def test_a_group_that_is_closed_leaves_no_file_without_a_name(tmp_path: Path) -> None:
    group = FileGroup()
    with group.open(tmp_path / "a") as file:
        file.write(b"1")

    group.close()

    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed_that_stands_where_a_file_is_written(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    group = FileGroup()
    (tmp_path / ".x.tmp").symlink_to(target)
    with group.open(tmp_path / "x") as file:
        file.write(b"1")
    for name in (".y.tmp", "z.partial"):
        (tmp_path / name).symlink_to(target)

    with pytest.raises(FileExistsError), atomic_path(tmp_path / "y") as temporary:
        temporary.symlink_to(target)  # by somebody else, at the worst moment
        with temporary.open("xb"):
            pass
    with pytest.raises(OSError, match="symbolic links"):
        open_locked(tmp_path / "z.partial")

    assert target.read_text() == "precious"


def test_an_output_whose_folder_is_removed_is_said(tmp_path: Path) -> None:
    output = AtomicFile(tmp_path / "new" / "x", overwrite=False)
    output.open()
    output.write(b"1\n")
    shutil.rmtree(tmp_path / "new")

    with pytest.raises(MegastyleError, match=r"x\.partial was deleted") as caught:
        output.commit()
    output.close()
    assert caught.value.exit_code == UNEXPECTED


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Inside, writing more than `size` bytes to a file fails, without naming the file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_names_the_final_file(tmp_path: Path) -> None:
    final = tmp_path / "x"

    with largest_file(100), pytest.raises(OSError, match="too large") as caught:
        atomic_write(final, b"1" * 101)

    assert caught.value.filename == str(final)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_temporary_file_names_the_final_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        atomic_write(tmp_path / "none" / "x", b"1")
    assert caught.value.filename == str(tmp_path / "none" / "x")

    with pytest.raises(FileNotFoundError) as caught, with_path(tmp_path / "x"):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_processes_may_share_a_target(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "x", writer=str(os.getpid())) as new:
        new.write_text("ours")
        other = multiprocessing.get_context("fork").Process(target=_write_shared, args=(tmp_path,))
        other.start()
        other.join()
        assert (tmp_path / "x").read_text() == "theirs"

    assert (tmp_path / "x").read_text() == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def _write_shared(folder: Path) -> None:
    with atomic_path(folder / "x", writer=str(os.getpid())) as new:
        new.write_text("theirs")


def test_an_atomic_output_appears_at_its_commit_only(tmp_path: Path) -> None:
    final = tmp_path / "out.jsonl"
    final.write_bytes(b"before\n")
    with pytest.raises(MegastyleError, match=r"out\.jsonl exists"):
        AtomicFile(final, overwrite=False).open()

    stopped = AtomicFile(final, overwrite=True)
    stopped.open()
    stopped.write(b"half\n")
    stopped.close()
    assert final.read_bytes() == b"before\n" and list(tmp_path.iterdir()) == [final]

    partial_path(final).write_bytes(b"left by a killed run\n")
    finished = AtomicFile(final, overwrite=True)
    finished.open()
    finished.write(b"new\n")
    finished.flush()
    assert final.read_bytes() == b"before\n" and partial_path(final).read_bytes() == b"new\n"
    finished.commit()
    finished.close()
    assert final.read_bytes() == b"new\n" and list(tmp_path.iterdir()) == [final]


def test_a_resumable_output_is_continued_after_its_last_complete_line(tmp_path: Path) -> None:
    final = tmp_path / "out.jsonl"
    partial_path(final).write_bytes(b'{"id":"a"}\n{"id":"a"}\n{"id":"b"')

    resumed = ResumableFile(final, resume=True, overwrite=False)
    resumed.open()
    assert resumed.done == {"a": 2}
    resumed.write(b'{"id":"b"}\n')
    resumed.commit()
    assert final.read_bytes() == b'{"id":"a"}\n{"id":"a"}\n{"id":"b"}\n'

    unchanged = ResumableFile(final, resume=True, overwrite=False)
    unchanged.open()
    assert not partial_path(final).exists()
    unchanged.write(b'{"id":"c"}\n')
    assert not final.exists()
    unchanged.close()
    assert partial_path(final).read_bytes().endswith(b'{"id":"b"}\n{"id":"c"}\n')


def test_an_existing_output_is_kept_unless_asked_for(tmp_path: Path) -> None:
    final = tmp_path / "out.jsonl"
    partial_path(final).write_bytes(b'{"id":"a"}\n')

    with pytest.raises(MegastyleError, match=r"out\.jsonl\.partial exists"):
        ResumableFile(final, resume=False, overwrite=False).open()
    again = ResumableFile(final, resume=False, overwrite=True)
    again.open()
    again.commit()
    assert not again.done and final.read_bytes() == b""


def test_a_line_that_is_no_record_is_not_resumed(tmp_path: Path) -> None:
    final = tmp_path / "out.jsonl"
    final.write_bytes(b'{"id":"a"}\nnotes\n')

    with pytest.raises(MegastyleError, match="line 2 is not a record"):
        ResumableFile(final, resume=True, overwrite=False).open()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = open_locked(tmp_path / "x.partial")

    with pytest.raises(MegastyleError, match="another process is writing"):
        open_locked(tmp_path / "x.partial")

    first.close()
    open_locked(tmp_path / "x.partial").close()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    names = ("whole", "lines", "resumed", "new")
    for name in names:
        (tmp_path / name).symlink_to(f"far/{name}")
        if name != "new":
            (tmp_path / "far" / name).write_text("old")

    atomic_write(tmp_path / "whole", "x")
    atomic_write(tmp_path / "new", "x")
    for output in (
        AtomicFile(tmp_path / "lines", overwrite=True),
        ResumableFile(tmp_path / "resumed", resume=False, overwrite=True),
    ):
        output.open()
        output.write(b"x")
        assert partial_path(output.final).parent == tmp_path / "far"
        output.commit()

    assert all((tmp_path / name).is_symlink() for name in names)
    assert {path.name: path.read_text() for path in (tmp_path / "far").iterdir()} == dict.fromkeys(
        names, "x"
    )


def test_a_stream_is_written_and_stays(tmp_path: Path) -> None:
    fifos = [tmp_path / name for name in ("open", "path")]
    with read_while(*fifos) as received:
        atomic_write(fifos[0], "x")
        with atomic_path(fifos[1]) as temporary:
            temporary.write_text("y")

    assert [bytes(received[path]) for path in fifos] == [b"x", b"y"]
    assert all(path.is_fifo() for path in fifos) and sorted(tmp_path.iterdir()) == fifos


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", "kept")

    with pytest.raises(IsADirectoryError):
        atomic_write(tmp_path / "a", "x")

    assert (tmp_path / "a" / "weights").read_text() == "kept"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_note_that_cannot_be_deleted_fails_nothing_and_says_nothing_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side, last = tmp_path / "v.npy", tmp_path / "out.jsonl"
    for final in (side, last):
        final.with_name(f"{final.name}.partial").touch()

    unlink = Path.unlink

    def full(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".commit":
            raise OSError(errno.ENOSPC, "no space left on device")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", full)
    with committing([side, last]):
        for final in (side, last):
            final.with_name(f"{final.name}.partial").rename(final)

    assert (tmp_path / ".out.jsonl.commit").exists()
    assert not is_uncommitted(side, last)


def test_a_folder_is_deleted_though_the_disk_refuses_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "step-1"
    old.mkdir()
    (old / "weights").touch()
    delete, refusals = os.unlink, iter([OSError(errno.EIO, "Input/output error")])

    def refuse_once(path: str, **where: int) -> None:
        if path == "weights":
            for error in refusals:
                raise error
        delete(path, **where)

    monkeypatch.setattr(os, "unlink", refuse_once)
    remove(old)

    assert list(tmp_path.iterdir()) == []


def test_a_note_of_finished_outputs_is_deleted_though_the_disk_refuses_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finals = [tmp_path / "report.json", tmp_path / "out.jsonl"]
    for final in finals:
        partial_path(final).touch()
    delete, refusals = os.unlink, iter([OSError(errno.EIO, "Input/output error")])

    def refuse_once(path: str, **where: int) -> None:
        if str(path).endswith(".commit"):
            for error in refusals:
                raise error
        delete(path, **where)

    monkeypatch.setattr(os, "unlink", refuse_once)
    with committing(finals):
        for final in finals:
            partial_path(final).rename(final)

    assert sorted(tmp_path.iterdir()) == sorted(finals)


def test_a_note_that_a_killed_run_left_beside_finished_outputs_is_deleted(tmp_path: Path) -> None:
    last = tmp_path / "out.jsonl"
    last.touch()
    note = tmp_path / ".out.jsonl.commit"
    note.write_text("{}")

    delete_stale_note(last)

    assert not note.exists()


def test_a_file_that_a_new_owner_replaced_was_taken_over_not_deleted(tmp_path: Path) -> None:
    """As for a process that is stopped between two checks of a flush."""
    path = tmp_path / "x.partial"
    file = open_locked(path)
    file.write(b"one\n")
    write_owner(tmp_path / "x", elsewhere())
    path.unlink()

    with pytest.raises(MegastyleError, match="was taken over") as caught:
        flush_to_disk(file, path)
    assert caught.value.exit_code == TRY_AGAIN
    file.close()
