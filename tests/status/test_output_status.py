"""What is at a path: a folder of parts with those it lacks, or one output."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from megastyle_cli.core.errors import USAGE, MegastyleError
from megastyle_cli.io.shard_note import NOTE, ShardNote, write_note
from megastyle_cli.status.output_status import find_output
from tests.core.test_owner import elsewhere, write_owner


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A folder of five parts: the first done, then one running, one stopped, two missing."""
    folder = tmp_path / "captions"
    folder.mkdir()
    for name in ("0-of-00005.jsonl", "0-of-00005.errors.jsonl", "2-of-00005.jsonl.partial"):
        (folder / f"part-0000{name}").write_bytes(b"{}\n")
    (folder / ".part-00000-of-00005.jsonl.order").touch()
    write_owner(folder / "part-00001-of-00005.jsonl", elsewhere())
    return folder


def test_a_folder_of_parts_says_what_it_lacks(parts: Path) -> None:
    found = find_output(parts)

    states = ["done", "running", "stopped", "missing", "missing"]
    assert [part.state for part in found.parts] == states
    assert [part.index for part in found.parts] == list(range(5))
    assert [part.failed for part in found.parts] == [1, 0, 0, 0, 0]
    assert found.parts[4].path == parts / "part-00004-of-00005.jsonl"
    assert found.count() == {"done": 1, "running": 1, "stopped": 1, "missing": 2}
    assert found.to_submit == {2, 3, 4} and not found.is_done


def test_tasks_are_numbered_as_in_the_array_that_wrote_the_parts(parts: Path) -> None:
    note = ShardNote(count=5, first=4, step=2)
    (parts / NOTE).write_text(json.dumps(asdict(note)))

    assert find_output(parts).to_submit == {8, 10, 12}


def test_a_task_may_write_several_parts() -> None:
    assert ShardNote(count=4, ranks=2, first=1).tasks_of([0, 2, 3]) == {1, 2}


def test_the_note_says_how_many_parts_an_empty_folder_will_have(tmp_path: Path) -> None:
    write_note(tmp_path, ShardNote(count=3), "part")

    assert find_output(tmp_path).count() == {"missing": 3}


def test_parts_may_be_folders_of_images(tmp_path: Path) -> None:
    for index in range(2):
        (tmp_path / f"part-0000{index}-of-00003").mkdir()
    (tmp_path / "part-00000-of-00003" / "metadata.jsonl").write_bytes(b"{}\n")

    found = find_output(tmp_path)

    assert [part.state for part in found.parts] == ["done", "missing", "missing"]
    assert found.parts[2].path == tmp_path / "part-00002-of-00003"


def test_one_output_has_one_part(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.partial").touch()
    (tmp_path / "synth").mkdir()
    (tmp_path / "synth" / "metadata.jsonl").touch()
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}")

    found = [find_output(tmp_path / name) for name in ("x.jsonl", "synth", "run")]

    assert [part.state for output in found for part in output.parts] == [
        "stopped",
        "done",
        "stopped",
    ]
    assert all(output.tasks is None for output in found)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "does not exist"),
        (["out/a.png"], "is no output"),
        (["out/part-00000-of-00002.jsonl", "out/part-00000-of-00003.jsonl"], r"\[2, 3\] shards"),
    ],
)
def test_what_is_no_output_is_a_usage_error(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / name).touch()

    with pytest.raises(MegastyleError, match=message) as caught:
        find_output(tmp_path / "out")

    assert caught.value.exit_code == USAGE
