"""Pictures of many records: in order, with a reason for each that is missing."""

from collections.abc import Sequence

from PIL import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.record_images import open_record_pictures

RED = Image.new("RGB", (1, 1), "red")


def read(names: Sequence[str]) -> list[Image.Image | BadRecord]:
    return [RED if name == "red.png" else BadRecord("bad_image", name) for name in names]


def test_pictures_and_reasons_come_in_the_order_of_records() -> None:
    records = [
        {"id": "a", "file_name": "none.png"},
        {"id": "b"},
        {"id": "c", "file_name": "red.png"},
        {"id": "d", "file_name": 7},
    ]

    bad, missing, red, number = open_record_pictures(records, "file_name", read)

    assert red is RED
    assert isinstance(bad, BadRecord) and bad.message == "none.png"
    for one, name in ((missing, "b"), (number, "d")):
        assert isinstance(one, BadRecord) and one.kind == "missing_key"
        assert one.message == f"record {name} has no file_name: it brings no picture"


def test_another_key_is_named() -> None:
    (missing,) = open_record_pictures([{"id": "a"}], "style_file_name", read)

    assert isinstance(missing, BadRecord)
    assert missing.message == "record a has no style_file_name"
