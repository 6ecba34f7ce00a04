"""Folders: listings, parts, pictures or containers, and nothing else."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.inputs import count_records, read_records
from tests.conftest import draw, jsonl
from tests.io.readers.samples import (
    SAMPLES,
    as_parquet,
    as_tar,
    whole,
)


def test_a_folder_of_shards_is_read_in_order_of_their_names(tmp_path: Path) -> None:
    as_parquet(tmp_path / "train-00001.parquet", SAMPLES[3:])
    as_parquet(tmp_path / "train-00000.parquet", SAMPLES[:3])

    assert [record["n"] for record in whole(tmp_path)] == list(range(7))
    assert count_records([str(tmp_path)]) == 7


def test_a_folder_of_pictures_and_shards_is_refused(tmp_path: Path) -> None:
    as_tar(tmp_path / "x.tar")
    draw(1).save(tmp_path / "a.png")

    with pytest.raises(MegastyleError, match="holds both images .* and shards"):
        read_records([str(tmp_path)])


def test_a_metadata_csv_lists_the_pictures_of_its_folder(pictures: Path) -> None:
    (pictures / "metadata.csv").write_text("file_name,text\n3.png,frog\n")

    (record,) = whole(pictures)

    assert Path(record["file_name"]).samefile(pictures / "3.png") and record["text"] == "frog"


def test_a_pickle_beside_shards_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    as_parquet(folder / "x.parquet")
    (folder / "style_indices.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    assert len(whole(folder)) == 7 and "style_indices.pkl is a pickle" in caplog.text


def test_listings_of_sub_folders_are_read_in_their_place(tmp_path: Path) -> None:
    for folder in ("a", "test", "train"):
        (tmp_path / folder).mkdir()
        draw(1).save(tmp_path / folder / "1.png")
    jsonl(tmp_path / "test" / "metadata.jsonl", [{"file_name": "1.png", "style": "ink"}])
    (tmp_path / "train" / "metadata.csv").write_text("file_name,style\n1.png,oil\n")
    (tmp_path / "a" / "1.caption").write_text("a frog\n")

    records = whole(tmp_path)

    names = [str(Path(record["file_name"]).relative_to(tmp_path)) for record in records]
    assert names == ["a/1.png", "test/1.png", "train/1.png"]
    assert [record.get("style") for record in records] == [None, "ink", "oil"]
    assert records[0]["text"] == "a frog"
    assert len({record["id"] for record in records}) == 1


def test_a_metadata_parquet_lists_the_pictures_beside_it(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = pa.table({"file_name": ["3.png"], "text": ["frog"]})
    pq.write_table(table, pictures / "metadata.parquet")

    (record,) = whole(pictures)

    assert Path(record["file_name"]).samefile(pictures / "3.png") and record["text"] == "frog"
    assert "metadata.parquet: 5 images beside it are not listed" in caplog.text
    assert count_records([str(pictures)]) == 1
