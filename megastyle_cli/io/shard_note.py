"""shards.json in a folder of parts: how its inputs are divided, written by the first shard.

It tells a task that is submitted again which part was its own, and which tasks are missing.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from megastyle_cli.core.atomic_file import atomic_path, remove, temporary_path
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.shard import PART_NAME

NOTE = "shards.json"


@dataclass(frozen=True, kw_only=True)
class ShardNote:
    """A folder of `count` parts, written by `count / ranks` tasks of `ranks` processes each.

    Task t of a Slurm array is number (t - first) / step of them. `containers` is a hash of the
    containers that the shards took in turns; "" if records were divided by their ids and names.
    """

    count: int
    ranks: int = 1
    first: int = 0
    step: int = 1
    containers: str = ""

    @property
    def num_tasks(self) -> int:
        """The number of tasks that write the parts."""
        return self.count // self.ranks

    def tasks_of(self, parts: Iterable[int]) -> set[int]:
        """The tasks that write these parts."""
        return {self.first + self.step * (part % self.num_tasks) for part in parts}


def read_note(folder: Path) -> ShardNote | None:
    """The note in a folder of parts; None if there is none, or not a readable one."""
    path = folder / NOTE
    if not path.is_file():
        return None
    try:
        found = read_object(path)
        note = ShardNote(**{name: found[name] for name in asdict(ShardNote(count=1))})
        is_valid = min(note.count, note.ranks, note.step) > 0 and note.count % note.ranks == 0
    except (MegastyleError, KeyError, TypeError):
        return None
    return note if is_valid else None


def write_note(folder: Path, note: ShardNote, writer: str) -> None:
    """Writes the note of a folder, which is made, if it has none, or a damaged one.

    Several shards may do so at once; `writer` names this one, whose killed start left a file here.
    Raises MegastyleError if the folder holds other parts, or the containers of the input changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_note(folder)
    if before is None and (there := _counts_in(folder)):
        before = read_note(folder)  # another shard may just have begun
        is_damaged = (folder / NOTE).exists() and there == {note.count}
        if before is None and not is_damaged:
            raise MegastyleError(
                f"{folder} holds parts of an older version, which divided records in another way",
                hint="write the output to another folder",
            )
    if before is None:
        with atomic_path(folder / NOTE, writer=writer) as temporary:
            temporary.write_text(json.dumps(asdict(note)) + "\n")
        return
    remove(temporary_path(folder / NOTE, writer))
    if before.count != note.count:
        raise other_count(folder, before.count, note.count)
    if before.containers != note.containers:
        raise MegastyleError(
            f"the input of {folder} changed: its containers are not those that were divided among"
            f" the {note.count} shards",
            hint="put new containers into another folder, or write the output to another folder",
        )


def parts_of(folder: Path) -> dict[Path, int]:
    """The finished parts in a folder, in order, with the number of parts that each name says."""
    found = {}
    for path in folder.iterdir():
        if match := PART_NAME.fullmatch(path.name.removesuffix(".jsonl")):
            found[path] = int(match[2])
    return dict(sorted(found.items()))


def number_of_parts(folder: Path) -> int | None:
    """The number of parts that a folder will have: that of its note, or of the names in it.

    Parts that are not finished count. None if it holds none. Raises MegastyleError if they differ.
    """
    if note := read_note(folder):
        return note.count
    counts = _counts_in(folder)
    if len(counts) > 1:
        raise MegastyleError(
            f"{folder} holds parts of runs with {sorted(counts)} shards", hint="keep one run"
        )
    return next(iter(counts), None)


def _counts_in(folder: Path) -> set[int]:
    names = (PART_NAME.match(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return {int(match[2]) for match in names if match}


def other_count(folder: Path, there: int, wanted: int) -> MegastyleError:
    """The error of a shard whose number of shards is not that of its folder."""
    return MegastyleError(
        f"{folder} holds parts of {there} shards, not of {wanted}",
        hint="use the same number of shards, or another folder",
    )


def with_ranks(note: ShardNote, ranks: int) -> ShardNote:
    """The note of tasks that consist of `ranks` processes each."""
    return replace(note, count=note.count * ranks, ranks=note.ranks * ranks)
