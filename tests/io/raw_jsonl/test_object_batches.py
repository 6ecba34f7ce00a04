"""Batches of objects hold what reading record by record gives, in the same order."""

import gzip
from functools import partial
from pathlib import Path

import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, check_text
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.raw_jsonl import batches
from megastyle_cli.io.raw_jsonl.object_batches import read_objects
from megastyle_cli.io.readers.jsonl import dump_line
from tests.io.raw_jsonl.lines import mixed_lines

CHECK = partial(check_text, key="style")


def one_by_one(inputs: list[str], limit: int | None = None) -> tuple[list[Record], list[Failure]]:
    records, failures = [], []
    for found in read_records(inputs, limit=limit):
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
@pytest.mark.parametrize("name", ["in/a.jsonl", "a.jsonl.gz", "\udcff/a.jsonl"])
@pytest.mark.parametrize("is_few", [False, True])
def test_batches_hold_all_records_and_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int, is_few: bool
) -> None:
    monkeypatch.setattr(batches, "_BATCH_BYTES", size)
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    lines = [
        b'{"id":"%d","style":"x","file_name":"a/%d.png","_megastyle":{"a":1}}' % (n, n)
        for n in range(300)
    ]
    content = b"\n".join([*lines, *mixed_lines(300 if is_few else 900)])  # no newline at the end
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    records, failures = one_by_one([name])

    found = list(read_objects([name], ("style",), CHECK))

    assert [line for batch in found for lines in batch.lines for line in lines] == list(
        map(dump_line, records)
    )
    assert [own for batch in found for own in batch.ids] == [record["id"] for record in records]
    assert [failure for batch in found for failure in batch.failures] == failures
    assert len(failures) > 20


def test_inputs_of_other_kinds_and_a_part_of_them_are_read_too(tmp_path: Path) -> None:
    table, lines = tmp_path / "a.csv", tmp_path / "b.jsonl"
    table.write_text("id,style\n1,flat\n2,ink\n")
    lines.write_bytes(b"\n".join(mixed_lines(50)))
    for inputs, limit in (([str(table), str(lines)], None), ([str(lines)], 20)):
        records, failures = one_by_one(inputs, limit)

        found = list(read_objects(inputs, ("style",), CHECK, limit))

        assert [line for batch in found for some in batch.lines for line in some] == list(
            map(dump_line, records)
        )
        assert [failure for batch in found for failure in batch.failures] == failures


def test_a_missing_input_raises_before_anything_is_read() -> None:
    with pytest.raises(MegastyleError, match="does not exist"):
        read_objects(["missing.jsonl"], ("style",), CHECK)
