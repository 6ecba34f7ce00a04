"""Batches hold what reading record by record gives, in the same order."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, check_text
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.raw_jsonl import batches
from megastyle_cli.io.raw_jsonl.batches import read_batches
from megastyle_cli.io.readers.jsonl import dump_line
from tests.io.raw_jsonl.lines import mixed_lines

CHECK = partial(check_text, key="style")


def one_by_one(inputs: list[str]) -> tuple[list[Record], list[Failure]]:
    records, failures = [], []
    for found in read_records(inputs):
        try:
            if isinstance(found, Failure):
                failures.append(found)
            else:
                CHECK(found)
                records.append(found)
        except BadRecord as bad:
            failures.append(Failure(found, bad.kind, bad.message))
    return records, failures


@pytest.mark.parametrize("size", [7, 300, 1 << 20])
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_batches_hold_all_records_and_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    monkeypatch.setattr(batches, "_BATCH_BYTES", size)
    monkeypatch.chdir(tmp_path)
    path = Path("in", name)
    path.parent.mkdir()
    content = b"\n".join(mixed_lines(400))  # the last line has no newline
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    records, failures = one_by_one([str(path)])

    found = list(read_batches([str(path)], "style", CHECK))

    assert [line for batch in found for line in batch.lines] == list(map(dump_line, records))
    texts = [text.decode("utf-8", "surrogatepass") for batch in found for text in batch.texts]
    assert texts == [record["style"] for record in records]
    assert [failure for batch in found for failure in batch.failures] == failures
    assert len(failures) > 20


def test_a_limit_counts_records_and_failures(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(mixed_lines(50)))

    found = list(read_batches([str(path)], "style", CHECK, limit=20))

    assert sum(len(batch) + len(batch.failures) for batch in found) == 20


def test_other_formats_are_read_too(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    table.write_text("id,style\n1,flat\n2,ink\n")
    lines.write_text('{"id":"3","style":"oil"}\n')

    (batch,) = read_batches([str(table), str(lines)], "style", CHECK)

    assert list(batch.texts) == [b"flat", b"ink", b"oil"]


def test_a_missing_input_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="does not exist"):
        read_batches([str(tmp_path / "none.jsonl")], "style", CHECK)


def test_lines_that_are_too_long_damage_and_paths_of_pictures_are_as_one_by_one(
    tmp_path: Path, item_size: Callable[[str], None]
) -> None:
    item_size("200")
    lines = [b'{"id":"%d","style":"%s"}' % (n, b"x" * (1 + 99 * n)) for n in range(4)]
    lines += [b'{"id":"p","image":"a.png","style":"ink"}', b'{"id":"q","style":"oil"}', b""]
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)) + b"junk")
    records, failures = one_by_one([str(path)])

    found = list(read_batches([str(path)], "style", CHECK))

    assert [line for batch in found for line in batch.lines] == list(map(dump_line, records))
    assert [failure for batch in found for failure in batch.failures] == failures
    whys = [failure.message.removeprefix(f"{path} ") for failure in failures]
    assert [why[:19] for why in whys] == [
        "line 3 is more than",
        "line 4 is more than",
        "line 7 is cut off o",
    ]
    assert records[2]["file_name"] == str(tmp_path / "a.png")
