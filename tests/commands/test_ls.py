"""ls: what inputs hold, without opening an image."""

import json
import os
import tarfile
from pathlib import Path

from tests.conftest import Runner


def test_a_listing_takes_the_place_of_its_folder(megastyle: Runner, tmp_path: Path) -> None:
    folder = tmp_path / "imgs"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        (folder / name).write_bytes(b"never opened")
    (folder / "b.txt").write_text("a caption")
    os.mkfifo(folder / "c.png")  # opening it would wait for ever
    listing = tmp_path / "lists" / "l.jsonl"
    listing.parent.mkdir()

    done = megastyle("ls", folder, "-o", listing)

    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    assert b"ls: 3 in" in done.stderr
    assert [json.loads(line) for line in listing.read_text().splitlines()] == [
        {"file_name": "../imgs/a.png"},
        {"file_name": "../imgs/b.jpg", "text": "a caption"},
        {"file_name": "../imgs/c.png"},
    ]
    again = megastyle("ls", listing, "--limit", 2)
    names = [json.loads(line)["file_name"] for line in again.stdout.splitlines()]
    assert names == [str(folder / "a.png"), str(folder / "b.jpg")]


def test_members_of_tars_are_listed(megastyle: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"never opened")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")

    done = megastyle("ls", "x.tar", cwd=tmp_path)

    assert json.loads(done.stdout) == {"file_name": "x.tar#a.png", "key": "a"}


def test_records_keep_their_ids_and_bad_lines_fail(megastyle: Runner, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "7", "text": "t"}\nnot json\n')

    done = megastyle("ls", tmp_path / "in.jsonl")

    assert done.returncode == 3
    assert json.loads(done.stdout) == {"id": "7", "text": "t"}


def test_the_plan_opens_nothing(megastyle: Runner, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"not a picture")

    done = megastyle("ls", tmp_path / "a.png", "-o", tmp_path / "l.jsonl", "-n")

    assert done.returncode == 0 and not (tmp_path / "l.jsonl").exists()
