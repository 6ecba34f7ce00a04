"""shards.json: what the tasks of one array know of each other."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.shard_note import (
    NOTE,
    ShardNote,
    number_of_parts,
    parts_of,
    read_note,
    with_ranks,
    write_note,
)


def test_a_note_comes_back_as_it_was_written(tmp_path: Path) -> None:
    note = ShardNote(count=8, ranks=2, first=4, step=3, containers="0123abcd")

    write_note(tmp_path / "new", note, "part")
    write_note(tmp_path / "new", note, "next")

    assert read_note(tmp_path / "new") == note


@pytest.mark.parametrize(
    "text", ["", "[]", '{"count": 4}', '{"count": "4", "ranks": 1}', "{\n", '{"count": 0}']
)
def test_what_is_no_note_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE).write_text(text)

    assert read_note(tmp_path) is None


def test_missing_parts_are_tasks_of_their_array() -> None:
    assert ShardNote(count=8, first=4).tasks_of([0, 1, 2, 7]) == {4, 5, 6, 11}
    assert ShardNote(count=4, step=4).tasks_of([1, 3]) == {4, 12}
    assert with_ranks(ShardNote(count=4), 2).tasks_of([1, 5, 6]) == {1, 2}


def test_other_shards_and_other_containers_are_refused(tmp_path: Path) -> None:
    write_note(tmp_path, ShardNote(count=4, containers="aa"), "part")

    with pytest.raises(MegastyleError, match="holds parts of 4 shards, not of 5"):
        write_note(tmp_path, ShardNote(count=5, containers="aa"), "part")
    with pytest.raises(MegastyleError, match="its containers are not those"):
        write_note(tmp_path, ShardNote(count=4, containers="bb"), "part")


def test_the_number_of_parts_is_that_of_the_note_or_of_the_names(tmp_path: Path) -> None:
    assert number_of_parts(tmp_path / "none") is None and number_of_parts(tmp_path) is None
    (tmp_path / "part-00001-of-00003.jsonl.partial").touch()
    assert number_of_parts(tmp_path) == 3 and parts_of(tmp_path) == {}
    (tmp_path / "part-00000-of-00002").mkdir()
    with pytest.raises(MegastyleError, match=r"\[2, 3\] shards"):
        number_of_parts(tmp_path)


def test_parts_without_a_note_are_not_mixed_with_others(tmp_path: Path) -> None:
    (tmp_path / "part-00001-of-00003.jsonl").touch()

    with pytest.raises(MegastyleError, match="holds parts of an older version"):
        write_note(tmp_path, ShardNote(count=3), "part")


def test_what_a_killed_start_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / ".shards.json.part-00003-of-00008.tmp"
    left.touch()
    write_note(tmp_path, ShardNote(count=8), "part-00001-of-00008")  # another one wrote the note
    assert left.exists()

    write_note(tmp_path, ShardNote(count=8), "part-00003-of-00008")

    assert {path.name for path in tmp_path.iterdir()} == {NOTE}


def test_a_damaged_note_is_written_again_beside_parts_of_its_number(tmp_path: Path) -> None:
    (tmp_path / "part-00001-of-00003.jsonl").touch()
    (tmp_path / NOTE).write_text("{")

    with pytest.raises(MegastyleError):
        write_note(tmp_path, ShardNote(count=4), "part")
    write_note(tmp_path, ShardNote(count=3), "part")

    assert read_note(tmp_path) == ShardNote(count=3)
