"""A folder of parts, one for each shard: read in the order of the unsharded run.

Beside each part lies `.PART.order`: for each of its lines the position of its record among all
records of the input.
"""

import heapq
import logging
import resource
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from megastyle_cli.core.array_list import array_list
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.core.shard import PART_NAME
from megastyle_cli.io.readers import jsonl
from megastyle_cli.io.shard_note import ShardNote, read_note

FILES_OF_PART = 2  # open at once while parts are merged
OTHER_FILES = 100  # that the process may have open
AFTER_ALL = 1 << 62  # a position
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PartLines:
    """One part: the file of its lines, and the records in them."""

    lines: Path
    records: Iterable[Record | Failure]


def order_path(lines: Path) -> Path:
    """The file with the positions of the lines of a part."""
    return lines.with_name(f".{lines.name}.order")


def check_all_there(folder: Path, parts: Mapping[Path, int]) -> None:
    """Raises MegastyleError if the folder does not hold all parts of one run.

    `parts` gives the number of parts that each name says. The sentence names the missing tasks as
    an `--array` list.
    """
    counts = set(parts.values())
    if len(counts) > 1:
        raise MegastyleError(
            f"{folder} holds parts of runs with {sorted(counts)} shards", hint="keep one run"
        )
    count = next(iter(counts))
    there = {int(match[1]) for path in parts if (match := PART_NAME.match(path.name))}
    if missing := sorted(set(range(count)) - there):
        note = read_note(folder)
        note = note if note and note.count == count else ShardNote(count=count)
        tasks = array_list(note.tasks_of(missing))
        raise MegastyleError(
            f"{folder} holds {len(there)} of {count} parts; missing: {array_list(missing)}",
            hint=f"run the missing shards first: sbatch --array={tasks}",
        )


def merged(parts: list[PartLines]) -> Iterator[Record | Failure]:
    """The records of all parts by their positions; part by part if those are not known."""
    positions = [_positions(part) for part in parts]
    if unknown := [part for part, order in zip(parts, positions, strict=True) if order is None]:
        if len(unknown) < len(parts):
            log.warning(
                "%s has other lines than it was written with: the parts are read one by one",
                unknown[0].lines,
            )
        return (found for part in parts for found in part.records)
    _allow_open_files(FILES_OF_PART * len(parts) + OTHER_FILES)
    placed = [
        # damage adds a failure after the last line
        zip(chain(order, repeat(AFTER_ALL)), part.records, strict=False)
        for part, order in zip(parts, positions, strict=True)
        if order is not None
    ]
    return (found for _, found in heapq.merge(*placed, key=lambda one: one[0]))


def _positions(part: PartLines) -> Iterator[int] | None:
    """The position of each line; None if there is no such file, or not one for each line."""
    path = order_path(part.lines)
    if not path.is_file() or jsonl.count(path) != jsonl.count(part.lines):
        return None
    return _numbers(path)


def _numbers(path: Path) -> Iterator[int]:
    with path.open("rb") as lines:
        yield from map(int, lines)


def _allow_open_files(number: int) -> None:
    """Raises the limit of open files of this process, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < number:
        most = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
