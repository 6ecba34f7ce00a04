"""Lines to a stream arrive as they are written, and nothing is made beside it."""

import io
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from megastyle_cli.core.atomic_file import AtomicFile, ResumableFile
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.writers.stream import Stream, atomic_output, line_for, resumable_output
from tests.streams import read_while


def test_lines_arrive_and_the_stream_stays_what_it_is(tmp_path: Path) -> None:
    fifo = tmp_path / "a.jsonl"
    with read_while(fifo) as received:
        output = atomic_output(fifo, overwrite=False)
        output.open()
        output.write(b"1\n")
        output.commit()
        output.close()

    assert isinstance(output, Stream) and fifo.is_fifo() and received[fifo] == b"1\n"
    assert list(tmp_path.iterdir()) == [fifo]


def test_standard_output_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", stdout)
    output = Stream()
    output.open()
    output.write(b"1\n")
    output.close()

    assert stdout.buffer.getvalue() == b"1\n"  # type: ignore[attr-defined]


def test_files_are_files_and_a_stream_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert isinstance(atomic_output(path, overwrite=False), AtomicFile)
    assert isinstance(resumable_output(path, resume=True, overwrite=False), ResumableFile)
    with pytest.raises(MegastyleError, match="cannot be resumed"):
        resumable_output(Path("/dev/stderr"), resume=True, overwrite=False)


@contextmanager
def terminal() -> Iterator[None]:
    """Standard output is a terminal inside."""
    leader, follower = pty.openpty()
    with open(follower, "w") as stdout, redirect_stdout(stdout):  # noqa: PTH123
        yield
    os.close(leader)


def test_only_a_terminal_gets_text() -> None:
    with terminal():
        line = line_for("-", lambda record: f"{record['id']}\n", as_json=False)

        assert line({"id": "caf\u00e9"}) == "caf\u00e9\n".encode()
        assert line_for("-", str, as_json=True) is dump_line
        assert line_for("out.jsonl", str, as_json=False) is dump_line


def test_a_pipe_gets_json() -> None:
    assert line_for("-", str, as_json=False) is dump_line


def test_a_full_disk_is_named_also_when_the_stream_is_closed() -> None:
    output = Stream(Path("/dev/full"))
    output.open()
    output.write(b"1\n")

    with pytest.raises(OSError) as flushed:
        output.flush()
    with pytest.raises(OSError) as closed:
        output.close()

    assert flushed.value.filename == closed.value.filename == "/dev/full"
