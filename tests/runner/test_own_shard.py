"""The shard of a process: what Slurm, srun and accelerate say, and what cannot be known."""

import os
from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.shard_note import ShardNote, write_note
from megastyle_cli.runner.own_shard import own_shard


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("SLURM_") or name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch):
    def set_all(**values: int) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, str(value))

    return set_all


def array(task: int, first: int, last: int, step: int = 1) -> dict[str, int]:
    count = (last - first) // step + 1
    values = {"ID": task, "MIN": first, "MAX": last, "COUNT": count, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": value for name, value in values.items()}


def part(index: int, count: int) -> Shard:
    return Shard(index=index, count=count, is_part=True)


def test_without_anything_all_records_are_ours() -> None:
    assert own_shard(None) == (Shard(), None)


def test_a_single_shard_is_a_folder_of_one_part() -> None:
    assert own_shard("0/1") == (part(0, 1), ShardNote(count=1))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (array(3, 0, 7), (3, 8, 0, 1)),
        (array(8, 1, 8), (7, 8, 1, 1)),
        (array(12, 0, 12, 4), (3, 4, 0, 4)),
        (array(0, 0, 0), (0, 1, 0, 1)),
    ],
)
def test_a_whole_array_gives_index_and_number(env, tmp_path: Path, environment, expected) -> None:
    env(**environment)
    index, count, first, step = expected

    shard, note = own_shard("auto", output=str(tmp_path / "new"))

    assert (shard, note) == (part(index, count), ShardNote(count=count, first=first, step=step))


@pytest.mark.parametrize(
    "environment",
    [array(2, 2, 2), array(1, 1, 1), array(5, 4, 7), array(17, 3, 17, 14)],
    ids=["task 2 alone", "task 1 alone", "4-7", "3,17"],
)
def test_an_array_that_may_be_a_part_of_another_is_refused(env, tmp_path, environment) -> None:
    env(**environment)

    with pytest.raises(MegastyleError, match="cannot be known") as refused:
        own_shard("auto", output=str(tmp_path))

    assert "--shard auto/64" in refused.value.hint


@pytest.mark.parametrize(
    ("first", "step", "task", "index"), [(0, 1, 2, 2), (1, 1, 2, 1), (4, 1, 6, 2), (0, 4, 8, 2)]
)
def test_a_task_that_is_submitted_again_finds_its_part(
    env, tmp_path: Path, first: int, step: int, task: int, index: int
) -> None:
    write_note(tmp_path, ShardNote(count=4, first=first, step=step), "part")
    env(**array(task, task, task))

    shard, note = own_shard("auto", output=str(tmp_path))

    assert shard == part(index, 4)
    assert note == ShardNote(count=4, first=first, step=step)


def test_parts_without_a_note_say_the_number_too(env, tmp_path: Path) -> None:
    (tmp_path / "part-00000-of-00004.jsonl").touch()
    env(**array(2, 2, 2))

    assert own_shard("auto", output=str(tmp_path))[0] == part(2, 4)


def test_a_named_number_and_an_offset_reach_beyond_the_largest_array(env, tmp_path: Path) -> None:
    env(**array(7, 0, 999))

    assert own_shard("auto/2000", 1000, str(tmp_path))[0] == part(1007, 2000)


def test_an_array_that_starts_at_four_is_moved_by_an_offset(env, tmp_path: Path) -> None:
    env(**array(5, 4, 7))

    assert own_shard("auto/8", 0, str(tmp_path))[0] == part(5, 8)
    assert own_shard("auto/4", -4, str(tmp_path))[0] == part(1, 4)


def test_a_task_outside_of_the_parts_is_an_error(env, tmp_path: Path) -> None:
    write_note(tmp_path, ShardNote(count=4), "part")
    env(**array(9, 9, 9))

    with pytest.raises(MegastyleError, match="task 9 is none of the 4 tasks from 0"):
        own_shard("auto", output=str(tmp_path))


def test_the_tasks_of_srun_are_shards(env, tmp_path: Path) -> None:
    env(SLURM_PROCID=1, SLURM_NTASKS=3, SLURM_STEP_NUM_TASKS=3)

    assert own_shard("auto", output=str(tmp_path)) == (part(1, 3), ShardNote(count=3))


def test_a_batch_script_is_not_a_task_of_srun(env, tmp_path: Path) -> None:
    env(SLURM_PROCID=0, SLURM_NTASKS=3)  # as sbatch --ntasks=3 sets them

    with pytest.raises(MegastyleError, match="needs a Slurm array job, or several tasks of srun"):
        own_shard("auto", output=str(tmp_path))


def test_tasks_of_srun_divide_the_shard_of_their_array(env, tmp_path: Path) -> None:
    env(**array(2, 0, 3), SLURM_PROCID=1, SLURM_STEP_NUM_TASKS=2)

    shard, note = own_shard("auto", output=str(tmp_path))

    assert shard == part(2 + 4 * 1, 8)
    assert note == ShardNote(count=8, ranks=2) and note.tasks_of([6]) == {2}
    write_note(tmp_path, note, "part")
    env(**array(2, 2, 2))
    assert own_shard("auto", output=str(tmp_path)) == (shard, note)


def test_ranks_of_accelerate_divide_a_shard_whatever_srun_says(env, tmp_path: Path) -> None:
    env(**array(2, 0, 3), RANK=1, WORLD_SIZE=2, SLURM_PROCID=0, SLURM_STEP_NUM_TASKS=1)

    shard, note = own_shard("auto", output=str(tmp_path))

    assert shard == part(6, 8) and note == ShardNote(count=8, ranks=2)
    assert own_shard(None)[0] == part(1, 2)


@pytest.mark.parametrize(
    ("text", "offset", "why"),
    [
        ("auto/0", 0, "not auto or auto/N"),
        ("auto/x", 0, "not auto or auto/N"),
        ("auto/100000", 0, "not auto or auto/N"),
        ("0/4", 1, "--shard-offset is added"),
        (None, 1, "--shard-offset is added"),
        ("4/4", 0, "not I/N"),
        ("auto", 0, "needs a Slurm array job"),
    ],
)
def test_anything_else_is_an_error(text: str | None, offset: int, why: str) -> None:
    with pytest.raises(MegastyleError, match=why):
        own_shard(text, offset)


def test_srun_must_agree_with_a_named_number(env) -> None:
    env(SLURM_PROCID=1, SLURM_STEP_NUM_TASKS=3)

    with pytest.raises(MegastyleError, match="srun started 3 tasks"):
        own_shard("auto/4")
