"""A folder of parts is read in the order of the run that was not divided."""

import logging
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.inputs import count_records, read_records
from megastyle_cli.io.parts import order_path
from megastyle_cli.io.shard_note import ShardNote, write_note


def part(folder: Path, index: int, count: int, ids: list[str], positions: list[int] | None) -> Path:
    path = folder / f"part-{index:05}-of-{count:05}.jsonl"
    path.write_text("".join(f'{{"id": "{one}"}}\n' for one in ids))
    if positions is not None:
        order_path(path).write_text("".join(f"{position}\n" for position in positions))
    return path


def ids(folder: Path) -> list[str]:
    return [record["id"] for record in read_records([str(folder)])]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_records_come_by_their_positions(tmp_path_factory, owners: list[int]) -> None:
    folder = tmp_path_factory.mktemp("parts")
    for index in range(5):
        mine = [at for at, owner in enumerate(owners) if owner == index]
        part(folder, index, 5, [f"r{at}" for at in mine], mine)

    assert ids(folder) == [f"r{at}" for at in range(len(owners))]
    assert count_records([str(folder)]) == len(owners)


def test_parts_without_positions_are_read_one_by_one(tmp_path: Path) -> None:
    part(tmp_path, 0, 2, ["b", "d"], None)
    part(tmp_path, 1, 2, ["a", "c"], None)

    assert ids(tmp_path) == ["b", "d", "a", "c"]


def test_a_part_that_was_edited_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    part(tmp_path, 0, 2, ["b", "d"], [1, 3])
    edited = part(tmp_path, 1, 2, ["a"], [0, 2])

    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["b", "d", "a"]

    assert f"{edited} has other lines than it was written with" in caplog.text


def test_a_line_that_is_damaged_fails_in_its_place(tmp_path: Path) -> None:
    part(tmp_path, 0, 2, ["b", "d"], [1, 3])
    damaged = part(tmp_path, 1, 2, ["a", "c"], [0, 2])
    damaged.write_text(damaged.read_text().replace('{"id": "a"}', '{"id": "a"'))

    found = list(read_records([str(tmp_path)]))

    assert getattr(found[0], "kind", "") == "bad_json"
    assert [one["id"] for one in found[1:]] == ["b", "c", "d"]


def test_missing_parts_are_listed_as_an_array(tmp_path: Path) -> None:
    for index in (0, 4):
        part(tmp_path, index, 6, [], [])

    with pytest.raises(MegastyleError, match=r"holds 2 of 6 parts; missing: 1-3,5") as raised:
        read_records([str(tmp_path)])
    assert "sbatch --array=1-3,5" in raised.value.hint


def test_missing_parts_are_tasks_of_the_array_that_wrote_them(tmp_path: Path) -> None:
    write_note(tmp_path, ShardNote(count=6, first=1, step=2), "part")
    for index in (0, 4):
        part(tmp_path, index, 6, [], [])

    with pytest.raises(MegastyleError) as raised:
        read_records([str(tmp_path)])

    assert "sbatch --array=3,5,7,11" in raised.value.hint


def test_more_parts_than_files_may_be_open(tmp_path: Path) -> None:
    count = 150
    for index in range(count):
        part(tmp_path, index, count, [f"r{index}"], [count - index])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        assert ids(tmp_path) == [f"r{index}" for index in reversed(range(count))]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
