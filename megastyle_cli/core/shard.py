"""Shards: which records of the inputs one process has, decided before a picture is opened.

A record's shard follows from the hash of its own id; without one from the name of its picture
relative to the input that it was found in; without a picture from its text. So adding records moves
none of the others. Where an input has more containers than there are shards, or parquet files with
more row groups, the shards take these in turns and do not open the others.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, record_key, text_hash, text_id

Found = Record | Failure

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


@dataclass(frozen=True)
class Segment:
    """Consecutive records of an input; None stands for one of another shard that was not read.

    `base` is the folder that names are relative to when they decide; of a segment that shards took
    in turns (`is_whole`) all records that were read are of this shard.
    """

    records: Iterable[Found | None]
    base: str = ""
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A record or failure, and its position among all records of the inputs: they are in order."""

    position: int
    found: Found


class Share:
    """The records of one shard among those of all inputs.

    `key` replaces the key of a record, for commands that process records of one key together; then
    all records are read. So they are if `reads_all` (a limit counts records before they are
    divided).
    """

    def __init__(
        self,
        shard: Shard | None = None,
        *,
        key: Callable[[Record], str] | None = None,
        reads_all: bool = False,
    ) -> None:
        self.shard, self._key = shard or Shard(), key
        self.is_all = self.shard.count == 1
        self._takes_turns = not (self.is_all or key or reads_all)
        self._turns = 0
        self._containers = hashlib.sha256()

    def owns(self, found: Found, base: str) -> bool:
        """Whether a record is of this shard; `base` is the folder that names are relative to.

        A failure without an id goes by its name or line.
        """
        if self.is_all:
            return True
        if isinstance(found, Failure):
            return self.shard.owns(record_key(found).removeprefix(f"{base}/"))
        if self._key is not None:
            return self.shard.owns(self._key(found))
        given, name = found.get("id"), found.get("file_name")
        if given not in (None, ""):
            return self.shard.owns(str(given))
        if isinstance(name, str):
            return self.shard.owns(_below(base, name))
        return self.shard.owns(text_id(found))

    def owns_name(self, name: str, base: str) -> bool:
        """Whether the picture `name`, without an id, is of this shard, if names decide."""
        return self.is_all or self._key is not None or self.shard.owns(_below(base, name))

    def takes_turns(self, number: int) -> bool:
        """Whether the shards take turns with so many containers or row groups."""
        return self._takes_turns and number > self.shard.count

    def turns(self, names: Sequence[str]) -> list[bool]:
        """Which of these containers or row groups are of this shard, by turns over all inputs."""
        ours = []
        for name in names:
            self._containers.update(f"{name}\n".encode("utf-8", "surrogateescape"))
            ours.append(self.shard.owns_turn(self._turns))
            self._turns += 1
        return ours

    @property
    def containers(self) -> str:
        """A hash of the names of what the shards took in turns; "" if there was nothing."""
        return self._containers.hexdigest()[:8] if self._turns else ""


def _below(base: str, name: str) -> str:
    """A name relative to a folder, with "/" between folders."""
    if base in ("", "."):
        return os.path.normpath(name) if "/" in name else name
    prefix = base if base.endswith("/") else f"{base}/"
    return name[len(prefix) :] if name.startswith(prefix) else os.path.relpath(name, base)
