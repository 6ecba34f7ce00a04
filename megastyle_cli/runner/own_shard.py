"""The shard of this process: from --shard, a Slurm array, the tasks of srun, ranks of accelerate.

`--shard auto` never guesses. The number of tasks comes from the folder of parts, else from an array
that can only be a whole one: it starts at 0 or 1, and has no gaps. What was submitted again
(`--array=2`) into a new folder is refused, and so is any other array unless `auto/N` names N.
"""

import os
import re
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.shard import (
    MAX_COUNT,
    Shard,
    divided,
    number_in,
    parse_shard,
    rank_and_world,
)
from megastyle_cli.io.shard_note import ShardNote, number_of_parts, read_note, with_ranks

_TASK = "SLURM_ARRAY_TASK_"
_EXPLICIT = "give the number of tasks: --shard auto/64, or the shard: --shard 3/64"


def own_shard(
    text: str | None, offset: int = 0, output: str | None = None
) -> tuple[Shard, ShardNote | None]:
    """The records of this process, and the note of the folder `output` if that holds parts.

    `text` is `--shard`, `offset` `--shard-offset`. Raises MegastyleError for what is neither I/N
    nor auto, and if `auto` cannot be known.
    """
    if offset and not (text or "").startswith("auto"):
        raise MegastyleError(
            "--shard-offset is added to the number of a Slurm task", hint="add --shard auto/N"
        )
    rank, world = rank_and_world()
    if text is None:
        shard, note = Shard(), ShardNote(count=1)
    elif text.startswith("auto"):
        shard, note, tasks = _auto_shard(text, offset, Path(output or "."), world)
        if world == 1 and tasks > 1 and _is_array():  # tasks of srun inside a task of an array
            rank, world = number_in("SLURM_PROCID"), tasks
    else:
        shard = parse_shard(text)
        note = ShardNote(count=shard.count)
    shard = divided(shard, rank, world)
    if shard.count > MAX_COUNT:
        raise MegastyleError(
            f"{shard.count:,} processes are more than {MAX_COUNT:,} shards", hint="start fewer"
        )
    return shard, with_ranks(note, world) if shard.is_part else None


def _auto_shard(text: str, offset: int, folder: Path, world: int) -> tuple[Shard, ShardNote, int]:
    """The shard of this task, the note of all tasks, and the number of srun's processes in it."""
    match = re.fullmatch(r"auto(?:/(\d+))?", text)
    if not match or (match[1] and not 0 < int(match[1]) <= MAX_COUNT):
        raise MegastyleError(
            f"--shard is {text!r}, not auto or auto/N with N <= {MAX_COUNT}", hint=_EXPLICIT
        )
    named = int(match[1]) if match[1] else None
    tasks = 1 if "RANK" in os.environ else number_in("SLURM_STEP_NUM_TASKS", "1")
    if _is_array():
        ranks = world if world > 1 else tasks
        note = _note_of_array(named, offset, folder, ranks)
        index = _index_in(note, number_in(f"{_TASK}ID") + offset)
        return Shard(index=index, count=note.count, is_part=True), note, tasks
    if tasks == 1:
        raise MegastyleError(
            "--shard auto needs a Slurm array job, or several tasks of srun",
            hint="give --shard I/N",
        )
    if named not in (None, tasks):
        raise MegastyleError(
            f"--shard is {text}, but srun started {tasks} tasks", hint="give --shard auto"
        )
    index = number_in("SLURM_PROCID")
    return Shard(index=index, count=tasks, is_part=True), ShardNote(count=tasks), tasks


def _note_of_array(named: int | None, offset: int, folder: Path, ranks: int) -> ShardNote:
    """The tasks that the folder of parts, `auto/N`, or a whole array means."""
    there = number_of_parts(folder)
    if there and there % ranks == 0:
        before = read_note(folder) or ShardNote(count=there, ranks=ranks)
        if named in (None, there // ranks):
            return ShardNote(count=there // ranks, first=before.first, step=before.step)
    if named:
        return ShardNote(count=named)
    first, last, count, step = (
        number_in(f"{_TASK}{name}", default)
        for name, default in (("MIN", ""), ("MAX", ""), ("COUNT", ""), ("STEP", "1"))
    )
    is_whole = first in (0, 1) and last == first + (count - 1) * step
    if offset or not is_whole or (count == 1 and first == 1):
        which = f"task {first}" if count == 1 else f"{count} tasks from {first} to {last}"
        more = f", moved by --shard-offset {offset}," if offset else ""
        raise MegastyleError(
            f"the Slurm array has {which}{more} and {folder} holds no parts yet:"
            " how many tasks there are in all cannot be known",
            hint=_EXPLICIT,
        )
    return ShardNote(count=count, first=first, step=step)


def _index_in(note: ShardNote, task: int) -> int:
    index, rest = divmod(task - note.first, note.step)
    if rest or not 0 <= index < note.count:
        tasks = f"{note.count} tasks from {note.first}" + f" in steps of {note.step}" * (
            note.step > 1
        )
        raise MegastyleError(
            f"task {task} is none of the {tasks}",
            hint="--shard-offset is added to the number of the task",
        )
    return index


def _is_array() -> bool:
    return f"{_TASK}ID" in os.environ
