"""Ids by content; names in a stranger's folder, tar or parquet file stay inside of it."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.record import Failure, Record, Run, bytes_id, text_id
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.record_names import with_id
from megastyle_cli.io.relative_paths import escapes_folder
from tests.chat_server import serving
from tests.conftest import Runner, draw, jsonl, lines


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A picture beside the folder `theirs`."""
    (tmp_path / "theirs").mkdir()
    draw(1).save(tmp_path / "secret.png")
    draw(2).save(tmp_path / "theirs" / "fine.png")
    return tmp_path / "secret.png"


def found(*inputs: object) -> list[Record | Failure]:
    return list(read_records([str(name) for name in inputs]))


def write_tar(path: Path, record: Record) -> None:
    content = json.dumps(record).encode()
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("0.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def foreign(kind: str, folder: Path, record: Record) -> Path:
    """An input of this kind in `folder` with one record; what is to be named."""
    if kind == "metadata.jsonl":
        jsonl(folder / "metadata.jsonl", [record])
        return folder
    if kind == "metadata.csv":
        rows = ",".join(record), ",".join(map(str, record.values()))
        (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
        return folder
    if kind == "parts":
        jsonl(folder / "part-00000-of-00001.jsonl", [record])
        (folder / "fine.png").unlink()
        return folder
    if kind == "tar":
        write_tar(folder / "x.tar", record)
        return folder / "x.tar"
    pq.write_table(pa.Table.from_pylist([record]), folder / "x.parquet")
    (folder / "fine.png").unlink()
    return folder


KINDS = ("metadata.jsonl", "metadata.csv", "parts", "tar", "parquet")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["file_name", "style_file_name"])
@pytest.mark.parametrize("name", ["absolute", "../secret.png", "a/../../secret.png"])
def test_a_name_that_leads_out_of_a_stranger_s_folder_is_a_failure_and_is_not_opened(
    secret: Path, kind: str, key: str, name: str
) -> None:
    name = str(secret) if name == "absolute" else name
    given = foreign(kind, secret.parent / "theirs", {"content": "a frog", key: name})

    (one,) = found(given)

    assert isinstance(one, Failure) and one.kind == "bad_image", one
    assert f"{key} {name!r} leads out of the folder" in one.message
    assert "id" not in one.record  # which would be that of the picture's bytes


def test_a_parquet_file_without_pictures_that_is_named_is_a_listing_as_a_csv_is(
    secret: Path,
) -> None:
    pq.write_table(pa.table({"image": ["../secret.png"]}), secret.parent / "theirs" / "x.parquet")

    (one,) = found(secret.parent / "theirs" / "x.parquet")

    assert isinstance(one, dict) and Path(one["file_name"]).samefile(secret)


def test_a_stranger_s_neighbours_stay_in_the_folder_too(secret: Path) -> None:
    record = {"file_name": "fine.png", "neighbors": [{"id": "n", "file_name": "../secret.png"}]}
    (found,) = read_records([str(foreign("metadata.jsonl", secret.parent / "theirs", record))])
    assert isinstance(found, Failure) and "leads out of the folder" in found.message


def test_a_stranger_s_folder_sends_no_picture_from_outside_to_a_server(
    megastyle: Runner, secret: Path, tmp_path: Path
) -> None:
    theirs = secret.parent / "theirs"
    jsonl(theirs / "metadata.jsonl", [{"file_name": n} for n in ("../secret.png", "fine.png")])

    with serving() as server:
        flags = ("--kind", "content", "--base-url", server.url, "-o", tmp_path / "out.jsonl")
        ended = megastyle("caption", theirs, *flags)

    assert ended.returncode == 3 and len(server.requests) == 1
    assert [record["file_name"] for record in lines(tmp_path / "out.jsonl")] == ["theirs/fine.png"]
    (failed,) = lines(tmp_path / "out.errors.jsonl")
    assert "leads out of the folder" in failed["_error"]["message"]


@pytest.mark.parametrize("kind", ["metadata.jsonl", "metadata.csv"])
def test_a_listing_that_is_named_itself_leads_wherever_it_says(secret: Path, kind: str) -> None:
    theirs = foreign(kind, secret.parent / "theirs", {"file_name": "../secret.png"})

    (one,) = found(theirs / kind)

    assert not isinstance(one, Failure) and Path(one["file_name"]).samefile(secret)


def test_outputs_of_ours_are_read_as_folders_whatever_they_refer_to(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    for n in range(2):
        megastyle("caption", pictures, "--shard", f"{n}/2", "-o", tmp_path / "captions")
    asked = [{"id": "a", "style_file_name": "imgs/1.png", "content_file_name": "imgs/2.png"}]
    pairs = jsonl(tmp_path / "pairs.jsonl", asked)
    for container in ("folder", "webdataset"):
        flags = ("--size", 32, "--format", container, "-o", tmp_path / container)
        assert megastyle("synth", pairs, *flags).returncode == 0

    captions, made = found(tmp_path / "captions"), found(tmp_path / "folder")
    packed = found(tmp_path / "webdataset" / "train-00000.tar")

    assert len(captions) == 6
    for one in (*captions, *made, *packed):
        assert not isinstance(one, Failure) and Path(one["file_name"].partition("#")[0]).is_file()
    for one in (*made, *packed):
        assert Path(one["style_file_name"]).samefile(pictures / "1.png")  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "does"),
    [
        ("a.png", False),
        ("a/../b.png", False),
        ("..a.png", False),
        ("a..b/c.png", False),
        ("x.tar#a/1.png", False),
        ("https://example.org/../a.png", False),
        ("../a.png", True),
        ("a/../../b.png", True),
        ("./../b.png", True),
        ("/etc/passwd", True),
        ("../x.tar#1.png", True),
        ("..", True),
    ],
)
def test_what_leads_out(name: str, does: bool) -> None:
    assert escapes_folder(name) == does


def test_a_listing_that_leads_out_of_its_folder_opens_pictures_and_nothing_else(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret words")
    (tmp_path / "a").mkdir()
    names = ["../imgs/0.png", "../secret.txt", "/etc/passwd", "../none.png"]
    (tmp_path / "a" / "t.csv").write_text("path\n" + "\n".join(names) + "\n")

    out = tmp_path / "o.jsonl"
    ended = megastyle("caption", "--kind", "style", tmp_path / "a" / "t.csv", "-o", out)

    assert ended.returncode == 3 and len(lines(out)) == 1
    failed = lines(tmp_path / "o.errors.jsonl")
    assert [one["_error"]["kind"] for one in failed] == ["bad_image"] * 3
    assert b"secret words" not in (tmp_path / "o.errors.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"id": "a", "n": 1}, {"id": "a", "n": 1}),
        ({"n": 1, "id": "a"}, {"n": 1, "id": "a"}),
        ({"id": 7, "n": 1}, {"id": "7", "n": 1}),
        ({"n": 1, "id": 7}, {"id": "7", "n": 1}),
        ({"n": 1}, {"id": text_id({"n": 1}), "n": 1}),
        ({"n": 1, "id": None}, {"id": text_id({"n": 1}), "n": 1}),
        ({"id": "", "n": 1}, {"id": text_id({"n": 1}), "n": 1}),
    ],
)
def test_a_record_gets_an_id(record: dict, expected: dict) -> None:
    found = with_id(record)

    assert found == expected and list(found) == list(expected)  # type: ignore[call-overload]


def test_the_id_of_a_picture_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"frog")

    assert with_id({"file_name": str(tmp_path / "a.png")}) == {
        "id": bytes_id(b"frog"),
        "file_name": str(tmp_path / "a.png"),
    }


def test_a_picture_that_cannot_be_read_is_a_failure(tmp_path: Path) -> None:
    record = {"file_name": str(tmp_path / "none.png")}

    found = with_id(record)

    assert isinstance(found, Failure) and found.record == record and found.kind == "bad_image"
    assert with_id(found) is found


@pytest.mark.parametrize("content", ["", "{}", "[]", "a run of ours"])
def test_a_run_file_beside_a_stranger_s_listing_lifts_nothing(secret: Path, content: str) -> None:
    folder = foreign("metadata.jsonl", secret.parent / "theirs", {"file_name": "../secret.png"})
    if content == "a run of ours":
        run = Run("caption", {})
        content = json.dumps({"command": run.command, "run": run.key, "options": run.options})
    (folder / "run.json").write_text(content)

    (one,) = found(folder)

    assert isinstance(one, Failure) and "leads out of the folder" in one.message


@pytest.mark.parametrize("name", ["link.png", "deep/link.png", "far/secret.png", "far.tar#a.png"])
def test_a_link_does_not_lead_out_of_a_stranger_s_folder(secret: Path, name: str) -> None:
    folder = foreign("metadata.jsonl", secret.parent / "theirs", {"file_name": name})
    (folder / "deep").mkdir()
    for link in ("link.png", "deep/link.png"):
        (folder / link).symlink_to(secret)
    (folder / "far").symlink_to(secret.parent)
    (folder / "far.tar").symlink_to(secret.parent / "outside.tar")
    (secret.parent / "outside.tar").touch()

    (one,) = found(folder)

    assert isinstance(one, Failure) and "leads out of the folder" in one.message


def test_a_link_inside_a_stranger_s_folder_is_followed(secret: Path) -> None:
    folder = foreign("metadata.jsonl", secret.parent / "theirs", {"file_name": "link.png"})
    draw(1).save(folder / "a.png")
    (folder / "link.png").symlink_to("a.png")

    (one,) = found(folder)

    assert not isinstance(one, Failure)
