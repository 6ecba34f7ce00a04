"""The same samples as files, parquet and tar give the same records but for file_name."""

import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import count_records, read_records
from megastyle_cli.io.record_ids import picture_id
from megastyle_cli.io.writers import parquet
from megastyle_cli.io.writers.sink import to_folder
from tests.conftest import Runner, draw, jsonl, lines

SAMPLES = [
    {"id": f"s{n // 2}_c{n}", "content": f"Frog {n}", "style": f"In ink {n // 2}.", "n": n}
    for n in range(7)
]


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw(seed).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def as_tar(path: Path, records: list[dict[str, Any]] = SAMPLES) -> Path:
    members = []
    for n, record in enumerate(records):
        members += [(f"{n:04}.png", png(n)), (f"{n:04}.json", json.dumps(record).encode())]
    return write_tar(path, members)


def as_parquet(path: Path, records: list[dict[str, Any]] = SAMPLES, **options: Any) -> Path:
    images = [{"bytes": png(n), "path": f"{n}.jpg"} for n in range(len(records))]
    rows = [{**record, "image": image} for record, image in zip(records, images, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), path, **{"row_group_size": 3, **options})
    return path


def as_files(folder: Path, records: list[dict[str, Any]] = SAMPLES) -> Path:
    folder.mkdir()
    for n in range(len(records)):
        (folder / f"{n}.png").write_bytes(png(n))
    jsonl(
        folder / "metadata.jsonl",
        [{**record, "file_name": f"{n}.png"} for n, record in enumerate(records)],
    )
    return folder


def whole(*inputs: object) -> list[Record]:
    records = []
    for found in read_records([str(name) for name in inputs]):
        assert not isinstance(found, Failure), found.message
        records.append(found)
    return records


def failures(*inputs: object) -> list[Failure]:
    return [found for found in read_records(list(map(str, inputs))) if isinstance(found, Failure)]


def but(records: list[Record], *keys: str) -> list[Record]:
    return [{key: value for key, value in r.items() if key not in keys} for r in records]


@pytest.mark.parametrize("has_id", [True, False])
def test_files_parquet_and_tar_give_the_same_records(tmp_path: Path, has_id: bool) -> None:
    samples = SAMPLES if has_id else but(SAMPLES, "id")
    files = whole(as_files(tmp_path / "files", samples))
    rows = whole(as_parquet(tmp_path / "x.parquet", samples))
    members = whole(as_tar(tmp_path / "x.tar", samples))

    assert [r["key"] for r in members] == [f"{n:04}" for n in range(7)]
    assert but(members, "file_name", "key") == but(files, "file_name")
    assert but(rows, "file_name", "style_id", "content_id") == but(files, "file_name")
    for same in zip(files, rows, members, strict=True):
        first, *others = [open_picture(record["file_name"]).tobytes() for record in same]
        assert others == [first, first]


def test_an_id_of_the_releases_tells_style_and_content(tmp_path: Path) -> None:
    rows = whole(as_parquet(tmp_path / "x.parquet"))

    assert [(r["style_id"], r["content_id"]) for r in rows[:3]] == [
        *[("0", "0"), ("0", "1"), ("1", "2")]
    ]
    assert rows[4]["file_name"] == f"{tmp_path / 'x.parquet'}#4"


def test_a_folder_of_shards_is_read_in_order_of_their_names(tmp_path: Path) -> None:
    as_parquet(tmp_path / "train-00001.parquet", SAMPLES[3:])
    as_parquet(tmp_path / "train-00000.parquet", SAMPLES[:3])

    assert [record["n"] for record in whole(tmp_path)] == list(range(7))
    assert count_records([str(tmp_path)]) == 7


def test_a_folder_of_pictures_and_shards_is_refused(tmp_path: Path) -> None:
    as_tar(tmp_path / "x.tar")
    draw(1).save(tmp_path / "a.png")

    with pytest.raises(MegastyleError, match="holds pictures .* and shards"):
        read_records([str(tmp_path)])


def test_rows_open_in_any_order_from_any_thread(tmp_path: Path) -> None:
    records = [{"id": str(n)} for n in range(90)]
    path = as_parquet(tmp_path / "x.parquet", records, row_group_size=50)
    order = [(37 * n) % 90 for n in range(90)]

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda n: open_picture(f"{path}#{n}").tobytes(), order))

    assert opened == [draw(n).tobytes() for n in order]


def test_a_written_name_opens_from_the_folder_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    names = [whole(as_tar(Path("in/x.tar")))[1]["file_name"]]
    names.append(whole(as_parquet(Path("in/x.parquet")))[1]["file_name"])

    renamed = [to_folder(Path("out"))(name) for name in names]
    monkeypatch.chdir(tmp_path / "out")

    assert renamed == ["../in/x.tar#0001.png", "../in/x.parquet#1"]
    for name in renamed:
        assert open_picture(name).tobytes() == draw(1).tobytes()
        assert [record["file_name"] for record in whole(name)] == [name]


def test_a_file_that_is_named_like_a_member_is_that_file(tmp_path: Path) -> None:
    as_tar(tmp_path / "x.tar")
    (tmp_path / "x.tar#0001.png").write_bytes(png(40))

    assert open_picture(str(tmp_path / "x.tar#0001.png")).tobytes() == draw(40).tobytes()
    assert picture_id(str(tmp_path / "x.tar#0002.png")) == picture_id(tmp_path_png(tmp_path, 2))


def tmp_path_png(folder: Path, seed: int) -> str:
    (folder / "plain.png").write_bytes(png(seed))
    return str(folder / "plain.png")


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
    assert ".png is taken" in caplog.text


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../evil.png", "leads out of its tar"),
        ("/etc/evil.png", "leads out of its tar"),
        ("inner.tar", "is an archive in a tar"),
        ("0001.cls", "has no picture, .json or .txt"),
        ("0000.png", "is there twice"),
        ("0001.json", "is not valid JSON"),
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


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
@pytest.mark.parametrize("content", [b"", b"no container at all" * 99])
def test_what_is_no_container_is_refused_at_once(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(content)

    with pytest.raises(MegastyleError, match=rf"x\.{suffix} is (empty|no )"):
        read_records([str(tmp_path / f"x.{suffix}")])


def test_a_parquet_file_that_is_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(MegastyleError, match="is no parquet file, or is damaged"):
        read_records([str(path)])


def test_a_page_that_is_damaged_is_a_failure(tmp_path: Path) -> None:
    path = as_parquet(tmp_path / "x.parquet", compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:2000] = b"\xff" * 1996
    path.write_bytes(content)

    found = list(read_records([str(path)]))

    assert isinstance(found[-1], Failure) and "is damaged" in found[-1].message


@pytest.mark.parametrize(
    "name",
    ["x.tar#none.png", "x.tar#", "x.parquet#7", "x.parquet#-1", "x.parquet#a", "y.tar#a.png"],
)
def test_a_member_or_row_that_is_not_there_is_a_bad_image(tmp_path: Path, name: str) -> None:
    as_tar(tmp_path / "x.tar")
    as_parquet(tmp_path / "x.parquet")

    with pytest.raises(BadRecord, match=name.partition("#")[0]) as caught:
        open_picture(str(tmp_path / name))
    assert caught.value.kind == "bad_image"


def test_a_table_of_texts_gives_records_and_nulls_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"style": "ink", "x": 1.5, "tags": ["a"]}, {"style": None, "x": float("nan")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")

    records = whole(tmp_path / "x.parquet")

    assert but(records, "id") == [{"style": "ink", "x": 1.5}, {}]
    assert "['tags']" in caplog.text


def test_a_row_without_a_picture_fails_alone(tmp_path: Path) -> None:
    images = [{"bytes": png(1), "path": "a"}, None, {"bytes": None, "path": "b"}]
    rows = [{"image": image} for image in images]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")

    found = list(read_records([str(tmp_path / "x.parquet")]))

    assert [isinstance(one, Failure) for one in found] == [False, True, True]


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_a_command_reads_a_container_to_the_end(
    megastyle: Runner, tmp_path: Path, suffix: str
) -> None:
    path = (as_tar if suffix == "tar" else as_parquet)(tmp_path / f"x.{suffix}")

    ended = megastyle("caption", "--kind", "style", path, "-o", tmp_path / "captions.jsonl")

    assert ended.returncode == 0, ended.stderr.decode()
    records = lines(tmp_path / "captions.jsonl")
    assert [record["id"] for record in records] == [sample["id"] for sample in SAMPLES]
    assert records[2]["file_name"].startswith(f"x.{suffix}#")


READING = """
import sys
import pyarrow
from megastyle_cli.io.archive_member import picture_bytes
from megastyle_cli.io.inputs import read_records
sizes = [len(picture_bytes(record["file_name"])) for record in read_records([sys.argv[1]])]
print(len(sizes), sum(sizes), pyarrow.default_memory_pool().max_memory())
"""


def test_the_memory_for_pictures_of_a_parquet_file_does_not_grow_with_it(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 800):  # groups of 100
        path = tmp_path / f"{count}.parquet"
        noise = random.Random(0)
        rows = (({"id": f"s1_c{n}"}, noise.randbytes(100_000)) for n in range(count))
        with path.open("wb") as file:
            parquet.write(file, rows)
        command = [sys.executable, "-c", READING, str(path)]
        told = subprocess.run(command, capture_output=True, check=True).stdout
        read, held, peak = map(int, told.split())
        assert (read, held) == (count, count * 100_000)
        peaks.append(peak)

    assert peaks[1] < 1.3 * peaks[0] and peaks[1] < 800 * 100_000


def test_two_samples_of_one_key_lose_no_picture(megastyle: Runner, tmp_path: Path) -> None:
    members = [("a.png", png(1)), ("b.png", png(2)), ("a.jpg", png(3)), ("b.png", png(4))]
    path = write_tar(tmp_path / "x.tar", members)

    ended = megastyle("caption", "--kind", "style", path, "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3 and b"x.tar#b.png is there twice" in ended.stderr
    assert [record["key"] for record in lines(tmp_path / "out.jsonl")] == ["a", "b", "a"]
    assert len(lines(tmp_path / "out.errors.jsonl")) == 1


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"id": ["s1_c1", "s1_c2"], "style": ["ink", "oil"]}, ["missing_key"] * 2),
        ({"id": ["s1_c1", "s1_c2"], "image": ["a.png", "b.png"]}, ["missing_key"] * 2),
        ({"id": ["s1_c1", "s1_c2"], "image": [{"bytes": b"", "path": "a"}, None]}, ["bad_image"]),
    ],
)
def test_parquet_without_pictures_is_an_error_record_a_row(
    megastyle: Runner, tmp_path: Path, columns: dict[str, list[Any]], kinds: list[str]
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")

    ended = megastyle("caption", tmp_path / "x.parquet", "-o", tmp_path / "out.jsonl")

    assert ended.returncode == 3 and b"Traceback" not in ended.stderr, ended.stderr.decode()
    failed = lines(tmp_path / "out.errors.jsonl")
    assert [one["id"] for one in failed] == ["s1_c1", "s1_c2"]
    assert {one["_error"]["kind"] for one in failed} == set(kinds)
