"""JSON files of the toolkit: read as they were written, or refused in one sentence."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.json_file import complete_objects, read_object

DAMAGED = (b"", b"\xff\xfe", b"{", b"[1]", b"null", b"[" * 100_000, b'{"n":' + b"9" * 5000 + b"}")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.json"


def test_an_object_is_read(file: Path) -> None:
    file.write_text('{"a": "\u00e9"}', encoding="utf-8")

    assert read_object(file) == {"a": "\u00e9"}


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)

    with pytest.raises(MegastyleError, match="run.json is damaged"):
        read_object(file)


def test_an_incomplete_last_line_and_blank_lines_are_left_out(file: Path) -> None:
    file.write_bytes(b'{"a": 1}\n\n{"a": 2}\n{"a": 3')

    assert list(complete_objects(file, a=int)) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("line", [*DAMAGED[1:], b'{"a": "1"}', b"{}"])
def test_a_damaged_line_is_named(file: Path, line: bytes) -> None:
    file.write_bytes(b'{"a": 1}\n' + line + b"\n")

    with pytest.raises(MegastyleError, match="run.json line 2 is damaged"):
        list(complete_objects(file, a=int))
