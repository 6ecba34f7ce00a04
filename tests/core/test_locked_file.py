"""Locked files: one process appends, and finds out if another one has."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.locked_file import copy_in_place, lock, open_locked, own
from megastyle_cli.core.owner import owner_path
from tests.core.test_owner import elsewhere, write_owner


@pytest.fixture(params=[None, errno.ENOSYS, errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with flock, and some that answer it with an error."""

    def no_locks(*_: object) -> None:
        raise OSError(request.param, "no locks")

    if request.param is not None:
        monkeypatch.setattr(fcntl, "flock", no_locks)


@pytest.mark.usefixtures("locks")
def test_a_second_writer_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    first = open_locked(tmp_path / "x.partial")

    with pytest.raises(MegastyleError, match="another process is writing") as caught:
        open_locked(tmp_path / "x.partial")
    assert caught.value.exit_code == TRY_AGAIN

    first.close()
    open_locked(tmp_path / "x.partial").close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.partial"]


def test_a_lock_without_an_owner_file_is_respected(tmp_path: Path) -> None:
    with (tmp_path / "x.partial").open("ab") as held:  # as a process of an earlier version
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(MegastyleError, match="it holds a lock on the file") as caught:
            open_locked(tmp_path / "x.partial")

    assert caught.value.exit_code == TRY_AGAIN
    assert [path.name for path in tmp_path.iterdir()] == ["x.partial"]


def test_a_handle_that_another_process_locked_is_not_ours(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as first, (tmp_path / "x").open("rb") as second:
        assert lock(first.fileno()) and not lock(second.fileno())


def test_what_is_written_is_appended_and_counted(tmp_path: Path) -> None:
    (tmp_path / "x.partial").write_bytes(b"before\n")
    with open_locked(tmp_path / "x.partial") as file:
        file.write(b"one\n")
        file.write(memoryview(b"two\n"))
        file.check_size()
        file.truncate(len(b"before\none\n"))
        file.check_size()
        file.seek(0)
        assert file.read() == b"before\none\n"
        file.write(b"three\n")
        file.check_size()

    assert (tmp_path / "x.partial").read_bytes() == b"before\none\nthree\n"


def test_what_another_process_appended_is_found(tmp_path: Path) -> None:
    with open_locked(tmp_path / "x.partial") as file:
        file.write(b"one\n")
        with (tmp_path / "x.partial").open("ab") as other:
            other.write(b"other\n")

        with pytest.raises(MegastyleError, match="it has 10 bytes instead of 4") as caught:
            file.check_size()

    assert caught.value.exit_code == TRY_AGAIN


def test_what_a_stopped_writer_adds_after_it_was_replaced_goes_nowhere(tmp_path: Path) -> None:
    stopped = open_locked(tmp_path / "x.partial")
    stopped.write(b"one\n")
    stopped.flush()
    write_owner(tmp_path / "x", elsewhere(), age_s=7200)  # as it looks from another node

    with open_locked(tmp_path / "x.partial") as file:
        stopped.write(b"lost\n")
        stopped.flush()
        file.write(b"two\n")
        file.check_size()
        with pytest.raises(MegastyleError, match="was taken over"):
            stopped.check()
        stopped.close()
        file.check()

    assert (tmp_path / "x.partial").read_bytes() == b"one\ntwo\n"
    assert [path.name for path in tmp_path.iterdir()] == ["x.partial"]


def test_an_owner_may_open_and_close_its_file_more_than_once(tmp_path: Path) -> None:
    owner = own(tmp_path / "x.partial")
    for _ in range(2):
        open_locked(tmp_path / "x.partial", owner).close()
        owner.check()

    owner.release()
    assert not owner_path(tmp_path / "x").exists()


def test_a_copy_in_place_has_the_content_and_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one\n")
    path.chmod(0o640)
    before = path.stat().st_ino
    with path.open("rb"):  # keeps its number from being used again
        copy_in_place(path)

        assert path.stat().st_ino != before and path.read_bytes() == b"one\n"
    assert path.stat().st_mode & 0o777 == 0o640 and list(tmp_path.iterdir()) == [path]
    copy_in_place(tmp_path / "none")


def test_a_file_that_cannot_be_opened_leaves_no_owner(tmp_path: Path) -> None:
    (tmp_path / "x.partial").symlink_to(tmp_path / "y")

    with pytest.raises(OSError, match="symbolic links"):
        open_locked(tmp_path / "x.partial")

    assert [path.name for path in tmp_path.iterdir()] == ["x.partial"]
    assert not os.path.lexists(tmp_path / "y")
