"""Ids by content; names to a folder and back; a stranger's names stay inside of their folder."""

import io
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from megastyle_cli.core.record import Failure, Record, Run, bytes_id, text_id
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.record_names import (
    LISTING_KEYS,
    escapes_folder,
    from_folder,
    from_listing_keys,
    hashed_name,
    safe_name,
    to_folder,
    to_listing_keys,
    with_file_name,
    with_id,
)
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


PARTS = st.lists(st.sampled_from(["a", "b.c", "..", "d e", "#1", "...", "x.tar#a"]), min_size=1)
INNER = st.lists(st.sampled_from(["a", "out", "b.c"]), max_size=4).map("/".join)
BASES = st.lists(st.sampled_from(["a", "out", "b.c", ".."]), max_size=4).map("/".join)


def absolute(name: str) -> str:
    return os.path.abspath(name)  # noqa: PTH100 - without following links


@given(INNER, PARTS)
def test_a_name_comes_back_from_every_folder(base: str, parts: list[str]) -> None:
    name = os.path.normpath("/".join(parts))
    assume(not name.startswith("../.."))  # above the root ".." means the root

    assert from_folder(base)(to_folder(Path(base))(name)) == name


@pytest.mark.parametrize("base", ["", "out"])
def test_an_empty_name_stays_empty(base: str) -> None:
    assert from_folder(base)("") == to_folder(Path(base))("") == ""


@given(BASES, PARTS)
def test_absolute_names_and_urls_open_from_everywhere(base: str, parts: list[str]) -> None:
    name = os.path.normpath("/" + "/".join(parts))
    url = "https://example.org/" + "/".join(parts)

    assert absolute(from_folder(base)(to_folder(Path(base))(name))) == name
    assert from_folder(base)(url) == to_folder(Path(base))(url) == url


@given(BASES, PARTS)
def test_a_name_means_the_same_file_from_a_folder(base: str, parts: list[str]) -> None:
    name = "/".join(parts)

    relative = to_folder(Path(base))(name)

    assert absolute(f"{base or '.'}/{relative}") == absolute(name)


@given(st.lists(st.sampled_from(["", "a", ".", "..", "..a", "b.."]), min_size=1))
def test_a_name_escapes_a_folder_if_it_leads_above_it(parts: list[str]) -> None:
    name = "/".join(parts)

    found = Path(absolute(f"/folder/inner/{name}"))

    assert escapes_folder(name) == (not found.is_relative_to("/folder/inner") or name[:1] == "/")


@given(st.text(), st.integers(0, 3), st.sampled_from(["_-", "._-"]))
def test_safe_names_are_file_names_and_differ(record_id: str, earlier: int, signs: str) -> None:
    name = safe_name(record_id, earlier, signs=signs)

    assert name.isascii() and not set(name) & set("/\\\0 #%") and 0 < len(name) < 130
    assert not name.startswith((".", "-", "~"))
    assert safe_name(record_id, earlier + 1, signs=signs) != name
    assert safe_name(f"{record_id}x", earlier, signs=signs) != name


def test_a_plain_id_is_its_own_name() -> None:
    assert safe_name("s1_c2", 0, signs="_-") == "s1_c2"
    assert safe_name("s1_c2", 1, signs="_-") == "s1_c2~1"
    assert safe_name("a.b", 0, signs="._-") == "a.b"
    assert safe_name("a.b", 0, signs="_-") == hashed_name("a.b")


def test_listing_keys_are_the_inverse_of_record_keys() -> None:
    record = {"file_name": "0.png", **{key: f"{key}.png" for key in LISTING_KEYS}, "style": "ink"}

    listed = to_listing_keys(record)

    assert listed.keys() & LISTING_KEYS.keys() == set()
    assert "file_name" in listed and from_listing_keys(listed) == record


@pytest.mark.parametrize("key", LISTING_KEYS)
def test_a_key_that_is_there_already_is_not_replaced(key: str) -> None:
    record = {key: "a.png", LISTING_KEYS[key]: "b.png"}

    assert from_listing_keys(record) == record


@pytest.mark.parametrize("key", ["image", "path", "filepath", "picture"])
def test_what_other_tools_call_file_name_names_the_picture(key: str) -> None:
    record = {"style": "ink", key: "a/b.JPG", "n": 1}

    assert [*with_file_name(record).items()] == [
        ("style", "ink"),
        ("file_name", "a/b.JPG"),
        ("n", 1),
    ]
    assert with_file_name({**record, "file_name": None})["file_name"] == "a/b.JPG"


@pytest.mark.parametrize(
    "record",
    [
        {"image": "https://example.org/a.jpg"},
        {"path": "notes.txt", "image": 7},
        {"image": "a.jpg", "file_name": "b.jpg"},
        {"image": "a.jpg", "style_file_name": "b.jpg"},
    ],
)
def test_what_is_no_picture_s_name_or_is_named_already_stays(record: dict[str, object]) -> None:
    assert with_file_name(record) is record
