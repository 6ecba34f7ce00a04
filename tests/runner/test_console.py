"""A terminal gets text, without anything that steers it; everything else gets JSON lines."""

import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import pytest

from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.runner.console import heading, labelled, line_for


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


def test_a_record_is_known_by_its_file_name_then_its_text_then_its_id() -> None:
    assert heading({"id": "a", "file_name": "owl.jpg", "text": "ink"}, "text") == "owl.jpg\n"
    assert heading({"id": "a", "text": "ink\x1b[2J\n"}, "text") == "ink\\x1b[2J\\n\n"
    assert heading({"id": "a"}, "text") == "a\n" and heading({}) == "-\n"


def test_long_text_is_wrapped_under_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "41")

    text = labelled("style", "cut-paper collage, teal\nwith ochre\x1b accents", width=7)

    assert text == "  style    cut-paper collage, teal with\n           ochre\\x1b accents\n"
