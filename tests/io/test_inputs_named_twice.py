"""What inputs name twice is read once, whatever it is called and wherever it lies."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import FilesRead, count_records, read_records
from megastyle_cli.io.picture_names import PictureNames
from megastyle_cli.io.raw_jsonl.batches import read_batches
from tests.conftest import draw, jsonl


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures, records, parts and a link, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a/owl.png", "photos/cat.png", "listed/dog.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw(len(name)).save(name)
    jsonl(Path("listed/metadata.jsonl"), [{"file_name": "dog.png"}])
    jsonl(Path("r.jsonl"), [{"id": "1", "style": "ink"}, {"id": "1", "style": "ink"}])
    Path("parts").mkdir()
    for n in range(2):
        jsonl(Path(f"parts/part-0000{n}-of-00002.jsonl"), [{"id": f"p{n}"}])
    Path("tables").mkdir()
    pq.write_table(pa.table({"id": ["t"], "style": ["ink"]}), "tables/t.parquet")
    Path("link").symlink_to("photos")
    Path("link.jsonl").symlink_to("r.jsonl")


def names(*inputs: str) -> list[Any]:
    found = list(read_records(inputs))
    assert not [one for one in found if isinstance(one, Failure)]
    return [one.get("file_name", one["id"]) for one in found]


TWO = ["photos/a/owl.png", "photos/cat.png"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["r.jsonl", "./r.jsonl", "link.jsonl"], ["1", "1"]),
        (["photos/cat.png", "photos/cat.png"], ["photos/cat.png"]),
        (["photos", "link", "photos/"], TWO),
        (["photos", "photos/cat.png"], TWO),
        (["photos/cat.png", "photos"], TWO[::-1]),
        (["photos", "photos/a"], TWO),
        (["photos/a", "photos"], TWO),
        (["photos", "link/cat.png"], TWO),
        (["listed", "listed/metadata.jsonl"], ["listed/dog.png"]),
        (["parts", "parts/part-00001-of-00002.jsonl"], ["p0", "p1"]),
        (["tables/t.parquet", "tables"], ["t"]),
    ],
)
def test_a_file_is_read_where_it_is_named_first(
    inputs: list[str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert names(*inputs) == expected
    (remark,) = (one.getMessage() for one in caplog.records)
    assert "named twice and read once" in remark


@pytest.mark.parametrize(
    "inputs", [["photos"], ["photos", "listed"], ["r.jsonl", "photos/cat.png"], []]
)
def test_nothing_is_said_or_remembered_of_inputs_that_lie_apart(
    inputs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    list(read_records(inputs))

    assert not caplog.records and not FilesRead(inputs).may_repeat


def test_equal_pictures_under_two_names_stay_two() -> None:
    Path("photos/copy.png").write_bytes(Path("photos/cat.png").read_bytes())

    assert names("photos", "photos/cat.png", "photos/copy.png") == [*TWO, "photos/copy.png"]


def test_records_are_counted_once() -> None:
    assert count_records(["r.jsonl", "link.jsonl"]) == 2
    assert count_records(["photos", "listed"]) == 3
    assert count_records(["photos", "photos/a"]) is None


def test_plain_lines_named_twice_are_read_once() -> None:
    def check(record: dict[str, Any]) -> None:
        if "style" not in record:
            raise BadRecord("missing_key", "no style")

    blocks = read_batches(["r.jsonl", "./r.jsonl"], "style", check)

    assert sum(len(block) for block in blocks) == 2


def test_names_of_generated_pictures_do_not_count_a_file_twice() -> None:
    picture_names = PictureNames(["photos", "photos/cat.png"], None, Path("out"))

    assert picture_names.name_for("a", "photos/cat.png") == "cat"
