"""Rejected records: in a file of their own, which is resumed like the output."""

from collections import Counter
from pathlib import Path

from megastyle_cli.core.record import Failure, annotate
from megastyle_cli.io.writers.rejects_file import ImageHashFile, RejectsFile

REJECTED = annotate({"id": "a"}, "synth", rejected="blank", score=0.1)


def rejects_file(path: Path, *, resume: bool = False) -> RejectsFile:
    return RejectsFile(path, "synth", resume=resume, overwrite=False)


def test_the_reason_is_in_the_provenance_of_the_command(tmp_path: Path) -> None:
    file = rejects_file(tmp_path / "r.jsonl")

    assert file.reason(REJECTED) == "blank"
    assert file.reason(annotate({"id": "a"}, "transfer", rejected="blank")) is None
    assert file.reason({"id": "a"}) is None
    assert file.reason(Failure(REJECTED, "bad_image", "x")) is None


def test_rejected_records_count_as_done_when_resumed(tmp_path: Path) -> None:
    with rejects_file(tmp_path / "r.jsonl") as file:
        file.write(REJECTED)

    with rejects_file(tmp_path / "r.jsonl", resume=True) as resumed:
        assert resumed.done == {"a": 1}
        resumed.write({**REJECTED, "id": "b"})
        resumed.commit()

    assert (tmp_path / "r.jsonl").read_bytes().count(b"\n") == 2


def test_hashes_of_written_records_are_known_to_a_resumed_run(tmp_path: Path) -> None:
    path = tmp_path / "hashes.jsonl"
    first = ImageHashFile(path, Counter(), resume=False)
    for record_id, value in (("a", "00"), ("b", "11"), ("c", "22")):
        first.add(record_id, value)
    path.write_bytes(path.read_bytes() + b'{"id":"d","ha')  # killed while it wrote

    resumed = ImageHashFile(path, Counter({"a": 1, "c": 1}), resume=True)

    assert resumed.hashes == ["00", "22"]
    assert ImageHashFile(path, Counter({"a": 1, "b": 1, "c": 1}), resume=True).hashes == [
        "00",
        "22",
    ]
    assert ImageHashFile(path, Counter({"a": 1}), resume=False).hashes == []
