"""What is done is known by names, and no picture is opened to ask."""

from collections import Counter
from pathlib import Path

import pytest

from megastyle_cli.core.record import Failure
from megastyle_cli.runner.done_names import DoneNames


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out" / "a.jsonl.partial"
    path.parent.mkdir()
    lines = ['{"id": "1", "file_name": "../imgs/x.png"}', '{"id": "2", "file_name": "y.png"}']
    path.write_text("\n".join([*lines, '{"id": "3", "fi']))
    return path


@pytest.mark.parametrize("name", ["imgs/x.png", "./imgs//x.png", "out/../imgs/x.png"])
def test_a_picture_of_the_output_is_done_once(output: Path, name: str) -> None:
    names, left = DoneNames(output, "file_name"), Counter({"1": 1, "2": 1})

    assert names.take({"file_name": name}, left) and left == {"1": 0, "2": 1}
    assert not names.take({"file_name": name}, left)


def test_other_records_are_not(output: Path) -> None:
    names, left = DoneNames(output, "file_name"), Counter({"1": 1, "2": 1})

    assert not names.take({"id": "9", "file_name": "imgs/x.png"}, left)
    assert not names.take({"file_name": "imgs/z.png"}, left)
    assert not names.take({"file_name": 5}, left)
    assert not names.take({"text": "y.png"}, left)
    assert not names.take(Failure({"file_name": "imgs/x.png"}, "bad_image", ""), left)
    assert left == {"1": 1, "2": 1}
    assert names.take({"file_name": str(output.parent / "y.png")}, left)


def test_the_key_is_the_one_of_the_command(tmp_path: Path) -> None:
    listing = tmp_path / "metadata.jsonl"
    listing.write_text('{"id": "1", "file_name": "made.png", "content_picture": "../p.jpg"}\n')
    names, left = DoneNames(listing, "content_file_name"), Counter("1")

    assert not names.take({"file_name": str(tmp_path / "made.png")}, left)
    assert names.take({"file_name": str(tmp_path.parent / "p.jpg")}, left)
