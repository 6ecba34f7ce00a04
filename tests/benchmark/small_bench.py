"""Small sets of pictures and benchmarks for the tests of `benchmark`."""

from megastyle_cli.benchmark.folder import seal, write_settings
from megastyle_cli.benchmark.pictures import copy_pictures
from megastyle_cli.benchmark.selection import Selection, select_records
from tests.conftest import draw, jsonl

SELECTION = Selection(styles=3, per_style=8, seed=1)


def grid(styles=5, contents=10, folder=".", **more):
    """Records of `contents` contents in each of `styles` styles; no picture is written."""
    return [
        {
            "id": f"{s}-{c}",
            "style_id": f"s{s}",
            "content_id": f"c{c}",
            "file_name": f"{folder}/{s}-{c}.png",
            **more,
        }
        for s in range(styles)
        for c in range(contents)
    ]


def drawn(folder, styles=5, contents=10, size=16, **more):
    """`grid` with its pictures, one drawing each."""
    records = grid(styles, contents, folder, **more)
    for number, record in enumerate(records):
        draw(number, size, size).save(record["file_name"])
    return records


def make(folder, records, selection=SELECTION):
    """A benchmark in `folder`: its rows and settings."""
    rows = copy_pictures(select_records(records, selection), folder, "run")
    settings = seal(rows, selection, {})
    write_settings(folder, settings)
    listed = [{**row, "file_name": row["file_name"].removeprefix(f"{folder}/")} for row in rows]
    jsonl(folder / "metadata.jsonl", listed)
    return rows, settings
