"""Shards: one process's share of the records, chosen by a hash of the id.

Adding records moves none of the others to another shard.
"""

import os
import re
from dataclasses import dataclass

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import text_hash

PART_NAME = re.compile(r"part-(\d{5})-of-(\d{5})")
MAX_COUNT = 99_999  # the five digits in the name of a part


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The records whose id hashes to `index` modulo `count`; 0 of 1 is all of them."""

    index: int = 0
    count: int = 1

    def owns(self, record_id: str) -> bool:
        """Whether this shard has the record; each id has exactly one owner among `count` shards."""
        return self.count == 1 or text_hash(record_id) % self.count == self.index

    @property
    def part_name(self) -> str:
        """The name of this shard's output in a directory of parts."""
        return f"part-{self.index:05}-of-{self.count:05}"


def parse_shard(text: str | None) -> Shard:
    """The shard that `I/N` means, or `auto`: the task of a Slurm array without gaps. None: all.

    Raises MegastyleError for anything else.
    """
    if text is None:
        return Shard()
    if text == "auto":
        return _slurm_array()
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not int(match[1]) < int(match[2]) <= MAX_COUNT:
        raise MegastyleError(
            f"--shard is {text!r}, not I/N with 0 <= I < N <= {MAX_COUNT}",
            hint="for example --shard 0/4",
        )
    return Shard(index=int(match[1]), count=int(match[2]))


def refine_by_rank(shard: Shard) -> Shard:
    """This rank's part of `shard` under accelerate or torchrun; `shard` itself without them.

    Rank r of w takes shard i + n*r of n*w: the ranks together hold exactly the shard's records.
    """
    rank, world = _number_in("RANK", "0"), _number_in("WORLD_SIZE", "1")
    if not 0 <= rank < world:
        raise MegastyleError(
            f"RANK is {rank}, but WORLD_SIZE is {world}", hint="unset both variables"
        )
    return Shard(index=shard.index + shard.count * rank, count=shard.count * world)


def _number_in(name: str, default: str) -> int:
    """The whole number in the environment variable `name`."""
    text = os.environ.get(name, default)
    if not text.isdecimal():
        raise MegastyleError(f"{name} is {text!r}, not a number", hint=f"unset {name}")
    return int(text)


def _slurm_array() -> Shard:
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "COUNT")]
    if not all(name in os.environ for name in names):
        raise MegastyleError("--shard auto needs a Slurm array job", hint="give --shard I/N")
    task, first, last, count = (_number_in(name, "") for name in names)
    if last - first + 1 != count:
        # resubmitting some tasks (--array=3,17) changes the count, and with it every owner
        raise MegastyleError(
            f"the Slurm array has {count} tasks between {first} and {last}: it has gaps",
            hint='give the number of parts: --shard "$SLURM_ARRAY_TASK_ID/64"',
        )
    return Shard(index=task - first, count=count)
