"""WebDataset tars: samples are records, members open by name, damage is a failure."""

import shutil
import tarfile
from pathlib import Path

import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure
from megastyle_cli.io.formats import picture_bytes
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import read_records
from tests.conftest import Runner, draw, lines
from tests.io.readers.samples import (
    as_tar,
    failures,
    png,
    whole,
    write_tar,
)


def test_a_tar_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", [("a.png", png(1))])
    before = open_picture(f"{tmp_path}/x.tar#a.png").tobytes()
    write_tar(tmp_path / "y.tar", [("b.json", b"{}"), ("b.txt", b""), ("a.png", png(2))])
    shutil.move(tmp_path / "y.tar", tmp_path / "x.tar")

    assert before == draw(1).tobytes()
    assert open_picture(f"{tmp_path}/x.tar#a.png").tobytes() == draw(2).tobytes()


def test_a_txt_is_the_text_and_of_several_pictures_the_plainest_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [("./d/a.depth.jpg", png(1)), ("./d/a.png", png(2)), ("./d/a.txt", b"A frog\n")]

    (record,) = whole(write_tar(tmp_path / "x.tar", members))

    assert record["text"] == "A frog" and record["key"] == "d/a"
    assert record["file_name"] == f"{tmp_path}/x.tar#d/a.png"
    assert ".png is used" in caplog.text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../evil.png", "leads out of its tar"),
        ("/etc/evil.png", "leads out of its tar"),
        ("inner.tar", "is an archive inside a tar"),
        ("0001.npy", "has no image, .json or .txt"),
        ("0001.cls", "is not UTF-8"),
        ("0000.png", "is there twice"),
        ("0001.json", "is not UTF-8"),
        ("0001.txt", "is not UTF-8"),
    ],
)
def test_a_member_that_cannot_be_used_fails_alone(tmp_path: Path, name: str, why: str) -> None:
    path = write_tar(tmp_path / "x.tar", [("0000.png", png(0)), (name, b"\xff{")])

    (failure,) = failures(path)

    assert why in failure.message and str(path) in failure.message
    assert [record["key"] for record in read_records([str(path)], limit=1)] == ["0000"]  # type: ignore[index]


@pytest.mark.parametrize("kept", [0.4, 0.6, 0.9])
def test_a_tar_that_is_cut_off_gives_what_is_whole_and_says_so(tmp_path: Path, kept: float) -> None:
    path = as_tar(tmp_path / "x.tar")
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content[: int(kept * len(content))])

    *_, last = read_records([str(path)])

    assert isinstance(last, Failure) and "is cut off" in last.message


def test_a_tar_that_is_damaged_in_the_middle_does_not_look_like_a_short_one(tmp_path: Path) -> None:
    path = as_tar(tmp_path / "x.tar")
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        header = tar.getmember("0004.png").offset
    content[header : header + 512] = b"\xff" * 512
    path.write_bytes(content)

    (failure,) = failures(path)

    assert f"is damaged at byte {header:,}" in failure.message


def test_a_member_of_a_tar_whose_first_header_is_damaged_is_a_bad_image(tmp_path: Path) -> None:
    path = as_tar(tmp_path / "x.tar")
    path.write_bytes(b"\xff" + path.read_bytes()[1:])

    with pytest.raises(BadRecord, match="x.tar"):
        picture_bytes(f"{path}#0004.png")


def test_two_samples_of_one_key_lose_no_picture(megastyle: Runner, tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("b.png", png(2)), ("a.jpg", png(3)), ("b.png", png(4))]
    path = write_tar(tmp_path / "x.tar", members)

    ended = megastyle("caption", "--kind", "style", path, "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3 and b"x.tar#b.png is there twice" in ended.stderr
    assert [record["key"] for record in lines(tmp_path / "out.jsonl")] == ["a", "b", "a"]
    assert len(lines(tmp_path / "out.errors.jsonl")) == 1


def test_a_header_of_a_terabyte_is_damage_and_not_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    good, huge = tarfile.TarInfo("a.json"), tarfile.TarInfo("b.json")
    good.size, huge.size = 2, 1 << 40
    path.write_bytes(good.tobuf() + b"{}".ljust(512, b"\0") + huge.tobuf() + b"{}")

    record, member, tar = read_records([str(path)])

    assert not isinstance(record, Failure) and record["key"] == "a"
    assert isinstance(member, Failure) and "b.json takes 1T, more than 512M" in member.message
    assert isinstance(tar, Failure) and "is cut off" in tar.message


def test_what_is_no_json_in_a_member_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.png", png(1)), ("a.json", b'{"n": NaN}')])

    (failure,) = failures(path)

    assert "x.tar#a.json" in failure.message and "NaN is not allowed, use null" in failure.message
