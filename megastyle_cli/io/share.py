"""Which records of the inputs a shard has: decided by ids and names, before a picture is opened.

A record goes by its own id; without one by the name of its picture relative to the input that it
was found in; without a picture by its text. Where an input has more containers than there are
shards, or parquet files with more row groups, the shards take these in turns and do not open the
others.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from megastyle_cli.core.record import Failure, Record, record_key, text_id
from megastyle_cli.core.shard import Shard

Found = Record | Failure


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
