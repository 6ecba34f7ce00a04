"""Shards read only their share, and their number changes nothing for the commands that follow."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.shard import Shard
from tests.conftest import Runner
from tests.contract.test_contract import lines
from tests.drawn_images import draw

STYLE = ("--kind", "style")
NUM_PICTURES = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "imgs"
    for seed in range(NUM_PICTURES):
        path = folder / f"{seed % 3}" / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(seed, 24, 16 + seed).save(path)
    return folder


def as_folder(pictures: Path, folder: Path) -> Path:
    return pictures


def as_listing(pictures: Path, folder: Path) -> Path:
    names = sorted(pictures.rglob("*.png"), key=lambda path: path.name)
    listing = folder / "listing.jsonl"
    listing.write_text("".join(f'{{"file_name": "{name}"}}\n' for name in names))
    return listing


def as_tars(pictures: Path, folder: Path, number: int = 1) -> Path:
    (folder / "tars").mkdir()
    for at in range(number):
        with tarfile.open(folder / "tars" / f"{at:02}.tar", "w") as tar:
            for path in sorted(pictures.rglob("*.png"))[at::number]:
                tar.add(path, path.name)
    return folder / "tars"


def as_many_tars(pictures: Path, folder: Path) -> Path:
    return as_tars(pictures, folder, 9)


def as_parquet(pictures: Path, folder: Path) -> Path:
    images = [{"bytes": path.read_bytes()} for path in sorted(pictures.rglob("*.png"))]
    pq.write_table(pa.table({"image": images}), folder / "all.parquet", row_group_size=3)
    return folder / "all.parquet"


@pytest.mark.parametrize(
    "layout", [as_folder, as_listing, as_tars, as_many_tars, as_parquet], ids=lambda f: f.__name__
)
def test_the_number_of_shards_changes_nothing_that_follows(
    megastyle: Runner, pictures: Path, tmp_path: Path, layout: Callable[[Path, Path], Path]
) -> None:
    source = layout(pictures, tmp_path)
    assert megastyle("caption", source, *STYLE, "-o", tmp_path / "plain.jsonl").returncode == 0

    def follow(captions: Path) -> list[bytes]:
        made = []
        for command in (("dedup",), ("cluster", "--sample", 9), ("pair", "--contents", pictures)):
            done = megastyle(command[0], captions, *command[1:])
            assert done.returncode == 0, done.stderr
            made.append(done.stdout)
        return made

    expected = follow(tmp_path / "plain.jsonl")
    for count in (2, 5):
        parts = tmp_path / f"parts{count}"
        for index in range(count):
            shard = ("--shard", f"{index}/{count}", "-o", parts)
            done = megastyle("caption", source, *STYLE, *shard)
            assert done.returncode == 0, done.stderr
        assert follow(parts) == expected


def test_a_shard_opens_no_picture_of_another_and_none_that_is_done(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    copied, owner = tmp_path / "imgs", Shard(index=1, count=3)
    ours, others = [], []
    for path in sorted(pictures.rglob("*.png")):
        name = path.relative_to(pictures)
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        (copied / name).write_bytes(path.read_bytes())
        (ours if owner.owns(str(name)) else others).append(copied / name)
    for path in others:  # whoever opens one has a failure
        path.write_bytes(b"not a picture")
    command = ("caption", copied, *STYLE, "--shard", "1/3", "-o", tmp_path / "parts")

    assert megastyle(*command).returncode == 0

    written = lines(tmp_path / "parts" / "part-00001-of-00003.jsonl")
    assert len(written) == len(ours) > 3
    for path in ours:
        path.write_bytes(b"not a picture")
    new = copied / "new.png"
    while not owner.owns(new.name):
        new = new.with_name(f"x{new.name}")
    draw(99, 20, 20).save(new)
    resumed = megastyle(*command, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(lines(tmp_path / "parts" / "part-00001-of-00003.jsonl")) == len(ours) + 1


def test_a_shard_of_many_containers_opens_those_of_its_turns(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    tars = as_tars(pictures, tmp_path, 7)
    for at in (0, 2, 3, 5, 6):
        (tars / f"{at:02}.tar").write_bytes(b"damaged")
    command = ("caption", tars, *STYLE, "--shard", "1/3", "-o", tmp_path / "parts")

    done = megastyle(*command)

    assert done.returncode == 0, done.stderr
    assert len(lines(tmp_path / "parts" / "part-00001-of-00003.jsonl")) == 7
    (tars / "07.tar").write_bytes((tars / "01.tar").read_bytes())
    changed = megastyle(*command, "--resume")
    assert changed.returncode == 2 and b"its containers are not those" in changed.stderr


def test_row_groups_of_others_are_not_read(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    source = as_parquet(pictures, tmp_path)
    metadata = pq.ParquetFile(source).metadata
    content = bytearray(source.read_bytes())
    for group in range(metadata.num_row_groups):
        column = metadata.row_group(group).column(0)
        if group % 3 != 2:
            start = column.dictionary_page_offset or column.data_page_offset
            end = start + column.total_compressed_size
            content[start:end] = bytes(end - start)
    source.write_bytes(content)

    done = megastyle("caption", source, *STYLE, "--shard", "2/3", "-o", tmp_path / "parts")

    assert done.returncode == 0, done.stderr
    assert len(lines(tmp_path / "parts" / "part-00002-of-00003.jsonl")) == 6


def test_missing_parts_are_named_as_an_array(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    for index in (0, 3):
        shard = ("--shard", f"{index}/5", "-o", tmp_path / "parts")
        megastyle("caption", pictures, *STYLE, "--limit", 6, *shard)

    refused = megastyle("dedup", tmp_path / "parts")

    assert refused.returncode == 2 and b"holds 2 of 5 parts" in refused.stderr
    assert b"--array=1-2,4" in refused.stderr
