"""Packed images are the same images, smaller, and packing continues where it stopped."""

from itertools import islice

import pytest
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.formats import picture_bytes
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


def facts(records):
    return [(record["id"], record["style_id"], record["n"]) for record in records]


def test_packed_records_are_read_from_the_folder_and_from_the_tars_alone(tmp_path):
    records = records_of(tmp_path / "imgs")

    packed = list(pack(records, tmp_path / "shards", **PLAIN))

    tars = sorted(str(path) for path in (tmp_path / "shards").glob("*.tar"))
    assert len(tars) == 3
    assert facts(packed) == facts(records)
    assert list(read_records([str(tmp_path / "shards")])) == packed
    bare = [{k: v for k, v in record.items() if k != "key"} for record in read_records(tars)]
    assert bare == packed


def test_images_keep_their_aspect_ratio_and_are_never_enlarged(tmp_path):
    records = records_of(tmp_path, count=2)
    draw(7, 20, 50).save(tmp_path / "1.png")

    large, small = pack(records, tmp_path / "shards", **PLAIN)

    assert (large["width"], large["height"]) == (48, 32)
    assert open_picture(large["file_name"]).size == (48, 32)
    assert open_picture(small["file_name"]).size == (20, 50)


def test_a_small_enough_jpeg_is_copied_unchanged(tmp_path):
    draw(1, 40, 30).save(tmp_path / "a.jpg", quality=40)
    record = {"id": "a", "file_name": str(tmp_path / "a.jpg"), "style_id": "s"}

    (packed,) = pack([record], tmp_path / "shards", **PLAIN)

    assert picture_bytes(packed["file_name"]) == (tmp_path / "a.jpg").read_bytes()


def test_interrupted_packing_resumes_to_the_same_bytes(tmp_path):
    records = records_of(tmp_path / "imgs")
    list(pack(records, tmp_path / "complete", **PLAIN))

    stopped = pack(records, tmp_path / "shards", **PLAIN)
    list(islice(stopped, 5))
    stopped.close()
    with pytest.raises(MegastyleError, match="is incomplete"):
        read_records([str(tmp_path / "shards")])
    before = (tmp_path / "shards" / "pictures-00000.tar").stat().st_mtime_ns
    resumed = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))

    assert facts(resumed) == facts(records)
    assert files_of(tmp_path / "shards") == files_of(tmp_path / "complete")
    assert (tmp_path / "shards" / "pictures-00000.tar").stat().st_mtime_ns == before


def test_failed_images_are_reported_and_tried_again(tmp_path):
    records = records_of(tmp_path / "imgs")
    broken = tmp_path / "imgs" / "5.png"
    complete = broken.read_bytes()
    broken.write_bytes(complete[:50])

    first = list(pack(records, tmp_path / "shards", **PLAIN))
    again = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))
    broken.write_bytes(complete)
    repaired = list(pack(records, tmp_path / "shards", **PLAIN, resume=True))

    assert isinstance(first[5], Failure) and first[5].record == records[5]
    assert again == first
    assert facts(repaired) == facts(records)


def test_a_finished_folder_grows_and_shrinks_with_its_records(tmp_path):
    records = records_of(tmp_path / "imgs")
    folder = tmp_path / "shards"

    list(pack(records[:6], folder, **PLAIN))
    longer = list(pack(records, folder, **PLAIN, resume=True))
    list(pack(records[:3], folder, **PLAIN, resume=True))

    assert facts(longer) == facts(records)
    assert facts(read_records([str(folder)])) == facts(records[:3])
    assert [path.name for path in folder.glob("*.tar")] == ["pictures-00000.tar"]


def test_an_existing_folder_is_not_written_to_by_default(tmp_path):
    records = records_of(tmp_path / "imgs", count=2)
    list(pack(records, tmp_path / "shards", **PLAIN))

    with pytest.raises(MegastyleError, match="exists"):
        pack(records, tmp_path / "shards", **PLAIN)
    with pytest.raises(MegastyleError, match="packed with side_px 32, not 64"):
        pack(records, tmp_path / "shards", **{**PLAIN, "side_px": 64}, resume=True)
    with pytest.raises(MegastyleError, match="holds no shards"):
        pack(records, tmp_path / "imgs", **PLAIN, overwrite=True)


def test_a_record_without_a_label_or_an_image_fails_on_its_own(tmp_path):
    records = records_of(tmp_path / "imgs", count=3)
    records[0] = {"id": "a", "style_id": "s"}
    records[1] = {"id": "b", "file_name": records[1]["file_name"]}

    kinds = [
        result.kind if isinstance(result, Failure) else result["id"]
        for result in pack(records, tmp_path / "shards", **PLAIN)
    ]

    assert kinds == ["missing_key", "missing_key", "r2"]


def test_transparency_becomes_white_in_a_shard(tmp_path):
    Image.new("RGBA", (40, 40), (255, 0, 0, 0)).save(tmp_path / "a.png")
    record = {"id": "a", "file_name": str(tmp_path / "a.png"), "style_id": "s"}

    (packed,) = pack([record], tmp_path / "shards", **PLAIN)

    assert open_picture(packed["file_name"]).getpixel((5, 5)) == (255, 255, 255)
