"""Pictures in a folder, in tars, in parquet: the same records, the same bytes after a stop."""

import io
import json
import os
import re
import signal
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from megastyle_cli.core.atomic_file import ResumableFile
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, Run, annotate
from megastyle_cli.io.formats import picture_bytes
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.writers import parquet as parquet_writer
from megastyle_cli.io.writers.image_dataset import ImageFormat
from megastyle_cli.io.writers.sink import Sink
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.map_job import MapJob
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from tests.conftest import Runner, draw, jsonl, lines
from tests.contract.test_contract import kill_after_a_line

PACKED = ("webdataset", "parquet")


class Killed(BaseException):
    """Ends a run in the middle of a batch, as a kill would."""


def pairs(count: int) -> list[Record]:
    return [
        {"id": f"s{n // 4}_c{n}", "content": f"Frog {n}", "style": f"In ink {n // 4}.", "n": n}
        for n in range(count)
    ]


def make(
    out: Path,
    records: list[Record],
    layout: ImageFormat,
    stop_at: int | None = None,
    inputs: Sequence[str] = (),
    **flags: Any,
) -> int:
    """Draws a picture a record, of `inputs` if there are any; killed when it has drawn number
    `stop_at`."""

    def drawn(batch: list[Record], sink: Sink) -> Iterator[Record | Failure]:
        for record in batch:
            number = record.get("n", len(drawn_ids))
            name = sink.save_image(record["id"], draw(number), record.get("file_name"))
            drawn_ids.append(record["id"])
            if number == stop_at:
                raise Killed
            yield {**record, "file_name": name}

    drawn_ids: list[str] = []
    if not inputs:
        inputs = [str(jsonl(out.parent / f"{out.name}-in.jsonl", records))]
    with MapJob(
        Run("synth", layout.as_options()),
        Source(inputs=inputs),
        output=OutputOptions(output=str(out)),
        existing=ResumeOptions(**flags),
        report=ReportOptions(quiet=True),
        batch_size=2,
        image_format=layout,
    ) as job:
        for batch in job.batches():
            job.write(drawn(batch, job.sink))
    return job.exit_code


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read(*inputs: object) -> list[Record]:
    found = list(read_records([str(name) for name in inputs]))
    assert not [one for one in found if isinstance(one, Failure)]
    return found  # type: ignore[return-value]


def layout(container: Any, **how: Any) -> ImageFormat:
    return ImageFormat(container=container, num_per_shard=4, **how)


@pytest.mark.parametrize("container", PACKED)
def test_shards_hold_the_records_and_pictures_of_the_folder(tmp_path: Path, container: str) -> None:
    make(tmp_path / "plain", pairs(11), layout("folder"))
    make(tmp_path / "packed", pairs(11), layout(container))

    plain, packed = read(tmp_path / "plain"), read(tmp_path / "packed")

    def content(records: list[Record]) -> list[Record]:
        return [{k: v for k, v in r.items() if k != "file_name"} for r in records]

    assert content(packed) == content(plain)
    for one, other in zip(plain, packed, strict=True):
        assert picture_bytes(one["file_name"]) == picture_bytes(other["file_name"])
    suffix = {"webdataset": "tar", "parquet": "parquet"}[container]
    shards = [f"train-0000{n}.{suffix}" for n in range(3)]
    assert sorted(files(tmp_path / "packed")) == ["metadata.jsonl", "run.json", *shards]


def test_the_package_datasets_finds_in_a_folder_only_pictures_that_lie_there(
    tmp_path: Path,
) -> None:
    draw(1).save(tmp_path / "ink.png")
    run = Run("synth", layout("folder").as_options()).key
    records = [
        annotate({**one, "style_file_name": "ink.png"}, "synth", run=run) for one in pairs(3)
    ]
    make(tmp_path / "out", records, layout("folder"))

    # its rule: each key *file_name is a picture below the folder, in a column of the key's head
    for record in lines(tmp_path / "out" / "metadata.jsonl"):
        names = [key for key in record if key.endswith("file_name")]
        assert names == ["file_name"] and "style" in record
        assert ".." not in Path(record["file_name"]).parts
        assert (tmp_path / "out" / record["file_name"]).is_file()
    for record in read(tmp_path / "out"):
        assert Path(record["style_file_name"]).samefile(tmp_path / "ink.png")


@pytest.mark.parametrize("container", PACKED)
def test_shards_are_read_without_their_listing(tmp_path: Path, container: str) -> None:
    make(tmp_path / "out", pairs(9), layout(container))
    listed = read(tmp_path / "out")
    (tmp_path / "out" / "metadata.jsonl").unlink()

    alone = read(tmp_path / "out")

    keys = ("id", "content", "style", "file_name")
    assert [[r[key] for key in keys] for r in alone] == [[r[key] for key in keys] for r in listed]


@pytest.mark.parametrize("container", ["folder", *PACKED])
@pytest.mark.parametrize("stop_at", range(0, 11))
def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, container: str, stop_at: int
) -> None:
    make(tmp_path / "whole", pairs(11), layout(container))
    with pytest.raises(Killed):
        make(tmp_path / "killed", pairs(11), layout(container), stop_at)
    assert not (tmp_path / "killed" / "metadata.jsonl").exists()

    make(tmp_path / "killed", pairs(11), layout(container), resume=True)

    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("container", PACKED)
@pytest.mark.parametrize("done", [3, 4, 6])
def test_a_finished_output_is_extended_to_the_bytes_of_one_run(
    tmp_path: Path, container: str, done: int
) -> None:
    make(tmp_path / "whole", pairs(11), layout(container))
    make(tmp_path / "grown", pairs(done), layout(container))

    make(tmp_path / "grown", pairs(11), layout(container), resume=True)
    make(tmp_path / "grown", pairs(11), layout(container), resume=True)  # nothing is left

    assert files(tmp_path / "grown") == files(tmp_path / "whole")


@pytest.mark.parametrize("container", PACKED)
def test_a_shard_cut_off_from_its_pictures_is_said(tmp_path: Path, container: str) -> None:
    with pytest.raises(Killed):
        make(tmp_path / "out", pairs(11), layout(container), 7)
    for path in (tmp_path / "out" / ".unpacked").iterdir():
        path.unlink()

    with pytest.raises(MegastyleError, match="the image of record s1_c4 is missing"):
        make(tmp_path / "out", pairs(11), layout(container), resume=True)


def test_overwriting_leaves_no_shard_of_before(tmp_path: Path) -> None:
    make(tmp_path / "out", pairs(11), layout("parquet"))

    make(tmp_path / "out", pairs(3), layout("webdataset"), overwrite=True)

    assert sorted(files(tmp_path / "out")) == ["metadata.jsonl", "run.json", "train-00000.tar"]


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
@pytest.mark.parametrize("container", PACKED)
def test_shards_that_are_not_ours_are_left_alone(tmp_path: Path, container: str, flag: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train-00000.parquet").write_text("precious")

    with pytest.raises(MegastyleError, match="not written by megastyle"):
        make(tmp_path / "out", pairs(3), layout(container), **{flag: True})

    assert (tmp_path / "out" / "train-00000.parquet").read_text() == "precious"


@pytest.mark.parametrize("other", [ImageFormat(container="webdataset"), layout("parquet")])
def test_force_does_not_mix_layouts(tmp_path: Path, other: ImageFormat) -> None:
    make(tmp_path / "out", pairs(5), layout("webdataset"))
    before = files(tmp_path / "out")

    with pytest.raises(MegastyleError, match="does not write there"):
        make(tmp_path / "out", pairs(6), other, resume=True, force=True)

    shards = [name for name in before if name.endswith(".tar")]
    assert all(files(tmp_path / "out")[name] == before[name] for name in shards)


ODD = ["a.b", "a.b", "a", "a", "../../x", "#1", "~", "L" * 300, "\ud800", "a b", "\u00e9"]


def test_samples_are_named_as_webdataset_wants(tmp_path: Path) -> None:
    records = [{**pairs(1)[0], "id": odd, "n": n} for n, odd in enumerate(ODD)]
    make(tmp_path / "out", records, ImageFormat(container="webdataset", picture_format="webp"))

    with tarfile.open(tmp_path / "out" / "train-00000.tar") as tar:
        names = tar.getnames()
    keys = [name.partition(".")[0] for name in names]
    assert [name.partition(".")[2] for name in names] == ["webp", "json", "txt"] * len(ODD)
    assert keys == [key for key in dict.fromkeys(keys) for _ in range(3)]
    assert len(set(keys)) == len(ODD) and not any("/" in key for key in keys)
    assert [record["id"] for record in read(tmp_path / "out")] == ODD
    alone = read(tmp_path / "out" / "train-00000.tar")
    assert [record["id"] for record in alone] == ODD
    assert {record["text"] for record in alone} == {"Frog 0. In ink 0."}


def test_parquet_has_the_columns_of_the_releases_in_groups_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", 3)
    records = [*pairs(7), {"id": "s9_c9", "n": 7}]
    make(tmp_path / "out", records, ImageFormat(container="parquet", picture_format="jpg"))

    with pq.ParquetFile(tmp_path / "out" / "train-00000.parquet") as file:
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        schema, rows = file.schema_arrow, file.read().to_pylist()
    assert groups == [3, 3, 2]
    assert schema.names == ["id", "image", "content", "style"]
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"} and list(features) == schema.names
    assert rows[5]["image"]["path"] == "s1_c5.jpg" and rows[5]["style"] == "In ink 1."
    assert (rows[7]["content"], rows[7]["style"]) == (None, None)


def test_quality_is_of_pictures_that_lose(tmp_path: Path) -> None:
    sizes = []
    for quality in (20, 95):
        how = ImageFormat(picture_format="jpg", quality=quality)
        make(tmp_path / str(quality), pairs(1), how)
        (record,) = read(tmp_path / str(quality))
        content = picture_bytes(record["file_name"])
        with Image.open(io.BytesIO(content)) as image:
            assert image.format == "JPEG"
        sizes.append(len(content))

    assert sizes[0] < sizes[1]
    with pytest.raises(MegastyleError, match="--quality 50 is for jpg and webp"):
        ImageFormat(quality=50)


@pytest.mark.parametrize("container", PACKED)
def test_a_command_killed_and_resumed_in_shards_gives_the_same_bytes(
    megastyle: Runner, pictures: Path, container: str
) -> None:
    asked = [
        {"id": f"s0_c{n}", "style_file_name": "0.png", "content_file_name": f"{n % 6}.png"}
        for n in range(9)
    ]
    records, whole, killed = jsonl(pictures / "p.jsonl", asked), pictures / "a", pictures / "b"
    flags = ("--size", 32, "--batch-size", 1, "--format", container, "--shard-size", 2)
    assert megastyle("synth", records, *flags, "-o", whole).returncode == 0

    kill_after_a_line("synth", (records, *flags), killed, signal.SIGKILL)
    resumed = megastyle("synth", records, *flags, "-o", killed, "--resume")

    assert resumed.returncode == 0, resumed.stderr.decode()
    assert files(killed) == files(whole)
    assert len(read(killed)) == 9


def test_parts_of_shards_are_read_as_one(megastyle: Runner, pictures: Path) -> None:
    asked = [{"id": f"r{n}", "file_name": f"{n}.png"} for n in range(6)]
    records, out = jsonl(pictures / "p.jsonl", asked), pictures / "parts"
    for n in range(2):
        flags = ("--size", 32, "--format", "webdataset", "--shard", f"{n}/2", "--shard-size", 2)
        ended = megastyle("transfer", records, "--style", pictures / "0.png", *flags, "-o", out)
        assert ended.returncode == 0, ended.stderr.decode()

    assert sorted(record["id"] for record in read(out)) == [f"r{n}" for n in range(6)]
    assert all(picture_bytes(record["file_name"]) for record in read(out))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("kept_bytes", [None, 0, 60, -1])
def test_a_listed_picture_that_is_not_whole_is_generated_again(
    tmp_path: Path, suffix: Any, kept_bytes: int | None
) -> None:
    how = ImageFormat(picture_format=suffix)
    make(tmp_path / "whole", pairs(5), how)
    make(tmp_path / "out", pairs(3), how)
    picture = tmp_path / "out" / lines(tmp_path / "out" / "metadata.jsonl")[1]["file_name"]
    if kept_bytes is None:
        picture.unlink()
    else:
        picture.write_bytes(picture.read_bytes()[:kept_bytes])

    make(tmp_path / "out", pairs(5), how, resume=True)

    assert files(tmp_path / "out") == files(tmp_path / "whole")


@pytest.mark.parametrize("container", PACKED)
def test_a_picture_cut_off_before_its_shard_was_written_is_said(
    tmp_path: Path, container: str
) -> None:
    with pytest.raises(Killed):
        make(tmp_path / "out", pairs(11), layout(container), 7)
    (tmp_path / "out" / ".unpacked" / "#5").write_bytes(b"")

    with pytest.raises(MegastyleError, match="the image of record s1_c5 is missing"):
        make(tmp_path / "out", pairs(11), layout(container), resume=True)


@pytest.mark.parametrize("container", ["folder", *PACKED])
def test_a_picture_is_on_disk_under_its_name_before_its_line_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    """The order of system calls, which decides what a power cut leaves."""
    events: list[tuple[str, str]] = []
    inodes: dict[int, int] = {}  # how many events there were when an inode was synced
    sync, replace, write = os.fsync, Path.replace, ResumableFile.write

    def observed_sync(handle: int) -> None:
        sync(handle)
        inodes[os.fstat(handle).st_ino] = len(events)
        events.append(("sync", str(os.fstat(handle).st_ino)))

    def observed_replace(self: Path, target: Path) -> Path:
        assert self.stat().st_ino in inodes, f"{target} has its name before its content"
        events.append(("rename", str(target)))
        return replace(self, target)

    def observed_write(self: ResumableFile, line: bytes) -> None:
        for picture in pictures_of(self.final.parent, json.loads(line)["file_name"]):
            named = max(n for n, event in enumerate(events) if event == ("rename", str(picture)))
            assert inodes[picture.stat().st_ino] < named < inodes[picture.parent.stat().st_ino]
            checked.append(picture)
        write(self, line)

    def pictures_of(folder: Path, name: str) -> list[Path]:
        rows = [folder / ".unpacked" / f"#{len(checked)}"]
        return [folder / name] if container == "folder" else rows

    checked: list[Path] = []
    monkeypatch.setattr(os, "fsync", observed_sync)
    monkeypatch.setattr(Path, "replace", observed_replace)
    monkeypatch.setattr(ResumableFile, "write", observed_write)
    make(tmp_path / "out", pairs(7), layout(container))

    assert len(checked) == 7
    assert events[-2:][0] == ("rename", str(tmp_path / "out" / "metadata.jsonl"))


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Two folders of pictures, four of which want one name; two of these have equal bytes."""
    names = ("one/a/owl.jpg", "one/a/owl.png", "one/cat.jpg", "one/b/cat.jpg", "one/x.png")
    for number, name in enumerate((*names, "two/a/OWL.webp", "two/a/owl.jpeg", "two/dog.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(0 if path.name == "owl.jpeg" else number).save(path, format="png")
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def names(*folders: Path) -> list[str]:
    found = [line["file_name"] for folder in folders for line in lines(folder / "metadata.jsonl")]
    return sorted(found)


def test_pictures_of_files_keep_their_names_in_shards_and_after_stops(
    tmp_path: Path, photos: list[str]
) -> None:
    make(tmp_path / "whole", [], layout("folder"), inputs=photos)
    whole = names(tmp_path / "whole")

    assert [name for name in whole if "owl" not in name.lower()] == [
        *("b/cat.png", "cat.png", "dog.png", "x.png")
    ]
    owls = [name for name in whole if "owl" in name.lower()]
    assert len(set(owls)) == 4 and not {"a/owl.png", "a/OWL.png"} & set(owls)
    twice = [name for name in owls if name.endswith("~1.png")]
    assert len(twice) == 1  # equal bytes have equal ids

    make(tmp_path / "turned", [], layout("folder"), inputs=photos[::-1])
    assert names(tmp_path / "turned") == whole
    for n in range(3):
        make(tmp_path / "parts", [], layout("folder"), inputs=photos, shard=f"{n}/3")
    # equal pictures have no number in another part
    divided = names(*sorted((tmp_path / "parts").glob("part-*")))
    assert [re.sub("~1", "", name) for name in divided] == [re.sub("~1", "", n) for n in whole]
    for stop_at in range(8):
        killed = tmp_path / f"killed{stop_at}"
        with pytest.raises(Killed):
            make(killed, [], layout("folder"), stop_at, inputs=photos)
        make(killed, [], layout("folder"), inputs=photos, resume=True)
        assert names(killed) == whole
        assert {name for name in files(killed) if name.endswith(".png")} == set(whole)


def test_what_an_earlier_run_named_stays_and_no_name_is_given_twice(
    tmp_path: Path, photos: list[str]
) -> None:
    make(tmp_path / "out", [], layout("folder"), inputs=[photos[0]])
    before = files(tmp_path / "out")
    (record,) = (one for one in lines(tmp_path / "out" / "metadata.jsonl") if "x." in str(one))
    (tmp_path / "one" / "x.png").rename(tmp_path / "one" / "y.png")
    draw(50).save(tmp_path / "one" / "x.png")  # another picture of that name

    make(tmp_path / "out", [], layout("folder"), inputs=[photos[0]], resume=True)

    after = files(tmp_path / "out")
    assert record["file_name"] == "x.png" and set(after) - set(before) == {"x~1.png"}
    assert after["x.png"] == before["x.png"]


def test_an_output_with_names_by_id_is_continued_and_repaired(
    tmp_path: Path, photos: list[str]
) -> None:
    make(tmp_path / "out", [], layout("folder"), inputs=[photos[0]])
    listing = tmp_path / "out" / "metadata.jsonl"
    old = [
        {**one, "file_name": f"images/0{n}/{one['id']}.png"}
        for n, one in enumerate(lines(listing)[:3])
    ]
    jsonl(listing, old)
    for one in old[:2]:  # the third is missing
        (tmp_path / "out" / one["file_name"]).parent.mkdir(parents=True)
        draw(1).save(tmp_path / "out" / one["file_name"])

    make(tmp_path / "out", [], layout("folder"), inputs=[photos[0]], resume=True)

    made = [one["file_name"] for one in lines(listing)]
    assert made[:3] == [one["file_name"] for one in old]
    assert made[3:] == ["cat.png", "x.png"]
    assert all((tmp_path / "out" / name).is_file() for name in made)


def test_no_input_and_no_picture_of_others_can_be_replaced(
    tmp_path: Path, photos: list[str]
) -> None:
    (tmp_path / "other").mkdir()
    draw(1).save(tmp_path / "other" / "cat.png")
    with pytest.raises(
        MegastyleError, match=r"other holds cat.png, which was not written by megastyle"
    ):
        make(tmp_path / "other", [], layout("folder"), inputs=photos)
    jsonl(tmp_path / "list.jsonl", [{"file_name": "other/cat.png"}])
    with pytest.raises(MegastyleError, match="holds inputs and is in the output"):
        make(tmp_path, [], layout("folder"), inputs=[str(tmp_path / "list.jsonl")], overwrite=True)
