"""Shards: one process's share of the records.

A record's shard follows from the hash of its id or name, so that adding records moves none of the
others. Containers, if they are not divided, take turns.
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
    """The records whose key hashes to `index` modulo `count`; 0 of 1 is all of them.

    `is_part` says that the output is a folder of parts; a single part is one, too.
    """

    index: int = 0
    count: int = 1
    is_part: bool = False

    def owns(self, key: str) -> bool:
        """Whether this shard has the record; each key has exactly one owner among the shards."""
        return self.count == 1 or text_hash(key) % self.count == self.index

    def owns_turn(self, number: int) -> bool:
        """Whether this shard has number `number` of what the shards take in turns."""
        return number % self.count == self.index

    @property
    def part_name(self) -> str:
        """The name of this shard's output in a directory of parts."""
        return f"part-{self.index:05}-of-{self.count:05}"


def parse_shard(text: str) -> Shard:
    """The shard that `I/N` means. Raises MegastyleError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not int(match[1]) < int(match[2]) <= MAX_COUNT:
        raise MegastyleError(
            f"--shard is {text!r}, not I/N with 0 <= I < N <= {MAX_COUNT}",
            hint="for example --shard 0/4",
        )
    return Shard(index=int(match[1]), count=int(match[2]), is_part=True)


def rank_and_world() -> tuple[int, int]:
    """The number of this process among those that accelerate or torchrun started: (0, 1) without.

    Raises MegastyleError if the environment contradicts itself.
    """
    rank, world = number_in("RANK", "0"), number_in("WORLD_SIZE", "1")
    if not 0 <= rank < world:
        raise MegastyleError(
            f"RANK is {rank}, but WORLD_SIZE is {world}", hint="unset both variables"
        )
    return rank, world


def divided(shard: Shard, rank: int, world: int) -> Shard:
    """Part `rank` of `world` of a shard: i + n * r of n * w. The parts hold exactly its records."""
    return Shard(
        index=shard.index + shard.count * rank,
        count=shard.count * world,
        is_part=shard.is_part or world > 1,
    )


def number_in(name: str, default: str = "") -> int:
    """The whole number in the environment variable `name`. Raises MegastyleError for others."""
    text = os.environ.get(name, default)
    if not text.isdecimal():
        raise MegastyleError(f"{name} is {text!r}, not a number", hint=f"unset {name}")
    return int(text)
