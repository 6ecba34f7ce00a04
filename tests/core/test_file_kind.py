"""What a path is decides whether it is a stream, not its name; a stream is opened once."""

import os
import socket
from pathlib import Path

import pytest

from megastyle_cli.core.file_kind import (
    descriptor_of,
    is_endless,
    is_stdin,
    is_stdout,
    is_stream,
    link_target,
    open_stream,
    require_regular,
)
from tests.streams import read_while, written_while


def test_open_files_are_known_by_their_names_and_through_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    (tmp_path / "chain").symlink_to("link")

    assert [descriptor_of(f"/dev/{name}") for name in ("stdin", "stdout", "stderr")] == [0, 1, 2]
    assert descriptor_of("/dev/fd/63") == descriptor_of("/proc/self/fd/63") == 63
    assert descriptor_of(tmp_path / "chain") == 1 and is_stdout(str(tmp_path / "chain"))
    assert descriptor_of(tmp_path) is None and descriptor_of("a\0b") is None
    assert is_stdin("-") and is_stdout("-") and not is_stdin("/dev/stdout")


def test_what_is_neither_file_nor_folder_is_a_stream(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "link").symlink_to("a.jsonl")
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        assert is_stream(tmp_path / "socket")

    assert is_stream(tmp_path / "a.jsonl") and is_stream(tmp_path / "link")
    assert not any(map(is_stream, (tmp_path, tmp_path / "file", tmp_path / "none", "a\0b")))
    with pytest.raises(OSError, match="is not a regular file"):
        require_regular(tmp_path / "link")


def test_an_open_file_goes_on_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as log:
        log.write(b"before\n")
        log.flush()
        name = f"/dev/fd/{log.fileno()}"
        with open_stream(name, "wb") as stream:
            stream.write(b"after\n")

        assert is_stream(name) and path.read_bytes() == b"before\nafter\n"


def test_a_closed_descriptor_and_a_folder_are_no_streams(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    assert not is_stream(f"/dev/fd/{handle}")
    os.close(handle)
    assert not is_stream(f"/dev/fd/{handle}")


def test_a_fifo_and_a_socket_pass_on_what_is_written(tmp_path: Path) -> None:
    with read_while(tmp_path / "out") as received, open_stream(tmp_path / "out", "wb") as stream:
        stream.write(b"line\n")
    assert received[tmp_path / "out"] == b"line\n"

    with written_while(tmp_path / "in", b"a\nb\n") as fifo, open_stream(fifo, "rb") as stream:
        assert list(stream) == [b"a\n", b"b\n"]

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        listening.listen()
        with open_stream(tmp_path / "socket", "wb") as stream:
            stream.write(b"line\n")
        with listening.accept()[0] as accepted:
            assert accepted.recv(99) == b"line\n"


def test_a_link_leads_to_its_target_even_before_that_exists(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("far/new.jsonl")

    assert link_target(tmp_path / "link") == tmp_path / "far" / "new.jsonl"
    assert link_target(tmp_path / "file") == tmp_path / "file"


def test_a_device_whose_lines_might_never_end_is_endless() -> None:
    assert is_endless("/dev/zero")
    assert not is_endless("/dev/null")
