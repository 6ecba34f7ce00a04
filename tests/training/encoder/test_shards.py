"""Packed pictures are the same pictures, smaller, and packing goes on where it stopped."""

from itertools import islice

import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.archive_member import picture_bytes
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import read_records
from megastyle_cli.training.encoder.shards import pack
from tests.conftest import draw

PLAIN = {"label": "style_id", "side_px": 32, "num_per_shard": 4}


def records_of(folder, count=10):
    folder.mkdir(exist_ok=True)
    records = []
    for n in range(count):
        path = folder / f"{n}.png"
        draw(n, 90, 60).save(path)
        records.append({"id": f"r{n}", "file_name": str(path), "style_id": f"s{n % 3}", "n": n})
    return records


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def told(records):
    return [(record["id"], record["style_id"], record["n"]) for record in records]


def test_packed_records_read_back_from_the_folder_and_from_the_bare_tars(tmp_path):
    records = records_of(tmp_path / "imgs")

    packed = list(pack(records, tmp_path / "shards", **PLAIN))

    tars = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    assert len(tars) == 3
    assert told(packed) == told(records)
    assert list(read_records([str(tmp_path / "shards")])) == packed
    bare = [{k: v for k, v in found.items() if k != "key"} for found in read_records(tars)]
    assert bare == packed


def test_pictures_keep_their_shape_and_are_never_enlarged(tmp_path):
    records = records_of(tmp_path, count=2)
    draw(7, 20, 50).save(tmp_path / "1.png")

    large, small = pack(records, tmp_path / "shards", **PLAIN)

    assert (large["width"], large["height"]) == (48, 32)
    assert open_picture(large["file_name"]).size == (48, 32)
    assert open_picture(small["file_name"]).size == (20, 50)


def test_a_jpeg_that_is_small_enough_is_copied_as_it_is(tmp_path):
    draw(1, 40, 30).save(tmp_path / "a.jpg", quality=40)
    record = {"id": "a", "file_name": str(tmp_path / "a.jpg"), "style_id": "s"}

    (packed,) = pack([record], tmp_path / "shards", **PLAIN)

    assert picture_bytes(packed["file_name"]) == (tmp_path / "a.jpg").read_bytes()


def test_packing_that_was_stopped_goes_on_to_the_same_bytes(tmp_path):
    records = records_of(tmp_path / "imgs")
    list(pack(records, tmp_path / "whole", **PLAIN))

    stopped = pack(records, tmp_path / "shards", **PLAIN)
    list(islice(stopped, 5))
    stopped.close()
    with pytest.raises(MegastyleError, match="not complete"):
        read_records([str(tmp_path / "shards")])
    before = (tmp_path / "shards" / "pictures-00000.tar").stat().st_mtime_ns
    resumed = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))

    assert told(resumed) == told(records)
    assert files_of(tmp_path / "shards") == files_of(tmp_path / "whole")
    assert (tmp_path / "shards" / "pictures-00000.tar").stat().st_mtime_ns == before


def test_pictures_that_failed_are_told_and_tried_again(tmp_path):
    records = records_of(tmp_path / "imgs")
    broken = tmp_path / "imgs" / "5.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:50])

    first = list(pack(records, tmp_path / "shards", **PLAIN))
    again = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))
    broken.write_bytes(whole)
    mended = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))

    assert isinstance(first[5], Failure) and first[5].record == records[5]
    assert again == first
    assert told(mended) == told(records)


def test_a_finished_folder_is_extended_and_cut_with_its_records(tmp_path):
    records = records_of(tmp_path / "imgs")
    folder = tmp_path / "shards"

    list(pack(records[:6], folder, **PLAIN))
    longer = list(pack(records, folder, **PLAIN, resume=True))
    list(pack(records[:3], folder, **PLAIN, resume=True))

    assert told(longer) == told(records)
    assert told(read_records([str(folder)])) == told(records[:3])
    assert [path.name for path in folder.glob("*.tar")] == ["pictures-00000.tar"]


def test_a_folder_that_stands_is_not_written_to_unasked(tmp_path):
    records = records_of(tmp_path / "imgs", count=2)
    list(pack(records, tmp_path / "shards", **PLAIN))

    with pytest.raises(MegastyleError, match="exists"):
        pack(records, tmp_path / "shards", **PLAIN)
    with pytest.raises(MegastyleError, match="packed with side_px 32, not 64"):
        pack(records, tmp_path / "shards", **{**PLAIN, "side_px": 64}, resume=True)
    with pytest.raises(MegastyleError, match="holds no shards"):
        pack(records, tmp_path / "imgs", **PLAIN, overwrite=True)


def test_a_record_without_a_label_or_a_picture_fails_alone(tmp_path):
    records = records_of(tmp_path / "imgs", count=3)
    records[0] = {"id": "a", "style_id": "s"}
    records[1] = {"id": "b", "file_name": records[1]["file_name"]}

    kinds = [
        found.kind if isinstance(found, Failure) else found["id"]
        for found in pack(records, tmp_path / "shards", **PLAIN)
    ]

    assert kinds == ["missing_key", "missing_key", "r2"]


def test_alpha_becomes_white_in_a_shard(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "a.png")
    record = {"id": "a", "file_name": str(tmp_path / "a.png"), "style_id": "s"}

    (packed,) = pack([record], tmp_path / "shards", **PLAIN)

    assert open_picture(packed["file_name"]).getpixel((5, 5)) == (255, 255, 255)
