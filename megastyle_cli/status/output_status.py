"""The parts of an output, by its path: those that exist, and those that its folder lacks."""

from dataclasses import dataclass
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.locked_file import PARTIAL
from megastyle_cli.core.shard import PART_NAME, Shard
from megastyle_cli.io.shard_note import ShardNote, read_note
from megastyle_cli.status.part import (
    STATES,
    Part,
    file_part,
    folder_part,
    is_image_folder,
    is_output_file,
    is_training,
    training_part,
)


@dataclass(frozen=True, kw_only=True)
class OutputStatus:
    """One output; `tasks` only if it is a folder of parts."""

    path: Path
    parts: list[Part]
    tasks: ShardNote | None = None

    @property
    def is_done(self) -> bool:
        """Whether every part is."""
        return all(part.state == "done" for part in self.parts)

    @property
    def to_submit(self) -> set[int]:
        """The tasks whose parts are neither done nor running."""
        assert self.tasks is not None
        left = (part for part in self.parts if part.state in ("stopped", "missing"))
        return self.tasks.tasks_of(part.index for part in left if part.index is not None)

    def count(self) -> dict[str, int]:
        """How many parts are in each state, in the order of STATES, without those of none."""
        counts = {state: sum(part.state == state for part in self.parts) for state in STATES}
        return {state: count for state, count in counts.items() if count}


def find_output(path: Path) -> OutputStatus:
    """The output at `path`. Raises MegastyleError if there is none."""
    if path.is_dir():
        if is_training(path):
            return OutputStatus(path=path, parts=[training_part(path)])
        if (parts := _parts_in(path)) is not None:
            return parts
        if is_image_folder(path):
            return OutputStatus(path=path, parts=[folder_part(path)])
        raise MegastyleError(
            f"{path} is no output: it holds neither parts, images with a metadata.jsonl, nor a"
            " training run",
            hint="give what a command was given as -o",
        )
    if is_output_file(path):
        return OutputStatus(path=path, parts=[file_part(path)])
    raise MegastyleError(f"{path} does not exist", hint="give what a command was given as -o")


def _parts_in(folder: Path) -> OutputStatus | None:
    note = read_note(folder)
    kinds: dict[int, str] = {}
    counts = set()
    for path in folder.iterdir():
        name = path.name.removeprefix(".").removesuffix(".owner").removesuffix(PARTIAL)
        match = PART_NAME.match(name)
        if match and name in (match[0], f"{match[0]}.jsonl"):
            kinds[int(match[1])] = name.removeprefix(match[0])
            counts.add(int(match[2]))
    if len(counts) > 1:
        raise MegastyleError(
            f"{folder} holds parts of runs with {sorted(counts)} shards", hint="keep one run"
        )
    if note is None and not counts:
        return None
    note = note or ShardNote(count=counts.pop())
    parts = []
    for index in range(note.count):
        path = folder / Shard(index=index, count=note.count).part_name
        # a part that is missing is of the kind of the others
        if "" in kinds.values():
            parts.append(folder_part(path, index))
        else:
            parts.append(file_part(path.with_name(f"{path.name}.jsonl"), index))
    return OutputStatus(path=folder, parts=parts, tasks=note)
