"""The record, one JSON line: ids, seeds, picture keys, failures, provenance."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.fingerprint import weights_digest

Record = dict[str, Any]
T = TypeVar("T")

# Keys that name a picture; `neighbors` holds records with a `file_name` of their own.
PICTURE_KEYS = ("file_name", "style_file_name", "content_file_name", "target_file_name")
# The names of `file_name` in other tools; the first that a record has counts.
PATH_KEYS = (
    *("file_name", "path", "file", "filename", "filepath", "file_path"),
    *("image", "image_path", "picture"),
)
_KEYS_WITH_NAMES = frozenset((*PICTURE_KEYS, "neighbors"))
PROVENANCE = "_megastyle"
ERROR = "_error"
OBJECT_KEYS = (PROVENANCE, ERROR, "neighbors")  # the cells of a table are not objects
# Zero-width and other invisible characters that are not white space.
INVISIBLE = (
    *(0xAD, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F)),
    *(*range(0x2060, 0x2070), 0xFEFF),
)
_SPACES = (
    *(*range(0x09, 0x0E), *range(0x1C, 0x21), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B)),
    *(0x2028, 0x2029, 0x202F, 0x205F, 0x3000),
)
BLANKS = frozenset(map(chr, _SPACES + INVISIBLE))
_VISIBLE = re.compile(f"[^{''.join(sorted(BLANKS))}]")
_CONTEXT_ONLY, _MARK = "_context_only", object()  # no file can hold this object


@dataclass(frozen=True)
class Failure:
    """A record that could not be processed: as it was read, the kind of failure, and a sentence.

    `key` is the key that it lacks, if that is the only fault.
    """

    record: Record
    kind: str
    message: str
    key: str = field(default="", compare=False)

    @classmethod
    def of(cls, record: Record, bad: BadRecord) -> "Failure":
        """The failure of `record` for the reason that `bad` gives."""
        return cls(record, bad.kind, bad.message, bad.key)


def record_key(result: "Record | Failure") -> str:
    """What identifies a record before and after it failed: its id, its picture, or its line."""
    record = result.record if isinstance(result, Failure) else result
    if record.get("id") or record.get("file_name"):
        return str(record.get("id") or record["file_name"])
    error = record.get(ERROR)
    return str(error.get("line") if isinstance(error, dict) else record)


def with_error(failure: Failure, step: str) -> Record:
    """The record of a failure as it was read, with its reason under `_error`."""
    before = failure.record.get(ERROR, {})
    error = {"step": step, "kind": failure.kind, "message": failure.message}
    return {**failure.record, ERROR: {**before, **error}}


Step = Callable[[Iterable[Record]], Iterator["Record | Failure"]]


def canonical_json(value: Any) -> str:
    """A value as JSON in one fixed form: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def bytes_id(content: bytes) -> str:
    """The id of a picture: the first 16 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def text_hash(text: str) -> int:
    """64 bits of the SHA-256 of a text: the same number on every machine."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def text_id(record: Record) -> str:
    """The id of a record without a picture: the same hash over its JSON, without `_` keys."""
    content = {key: value for key, value in record.items() if not key.startswith("_")}
    return bytes_id(canonical_json(content).encode())


def record_seed(seed: int, record_id: str, variation: int = 0) -> int:
    """A seed in [0, 2**32) for one variation of a record, independent of order, batch and shard."""
    return text_hash(f"{seed}:{record_id}:{variation}") >> 32


@dataclass(frozen=True)
class Run:
    """The command that made a record, with the options that can change a record."""

    command: str
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def key(self) -> str:
        """8 hex digits over the command and its options."""
        return hashlib.sha256(canonical_json([self.command, self.options]).encode()).hexdigest()[:8]

    def check_same_as(self, before: dict[str, Any], output: object) -> None:
        """Raises MegastyleError if `output` was made by another run.

        `before` is the content of its run.json. The sentence names each option that differs, and
        the version if that differs, too.
        """
        if before.get("run") == self.key:
            return
        options = before.get("options")
        was = options if isinstance(options, dict) else {}
        changes = "; ".join(
            f"{name} was {was.get(name)!r} and is {self.options.get(name)!r}"
            for name in sorted(was.keys() | self.options.keys())
            if was.get(name) != self.options.get(name)
        )
        version = before.get("version")
        by = f" by megastyle {version}" if version != self.version else ""
        raise MegastyleError(
            f"{output} was made{by} with other options: {changes}",
            hint="repeat the options, add --overwrite to start again, or --force to mix both",
        )


def recorded_weights(option: str, model: str | None) -> dict[str, str]:
    """A model as a run records it: its name and, of one on this machine, a digest of its files.

    A model of the hub is known by its name: NAME@REV pins it.
    """
    if not model:
        return {}
    path = Path(model)
    return {option: model, **({f"{option}_digest": weights_digest(path)} if path.exists() else {})}


def annotate(record: Record, command: str, **facts: Any) -> Record:
    """`record` with `facts` under `_megastyle.<command>`; provenance of earlier commands stays."""
    provenance = {**record.get(PROVENANCE, {}), command: facts}
    rest = {key: value for key, value in record.items() if key != PROVENANCE}
    return {**rest, PROVENANCE: provenance}


def as_context_only(record: Record) -> Record:
    """Marks a finished record that a step sees only to compare others with it."""
    return {**record, _CONTEXT_ONLY: _MARK}


def is_context_only(record: Record) -> bool:
    """Whether a record is marked as context only: it is not saved."""
    return record.get(_CONTEXT_ONLY) is _MARK


def rename_pictures(record: Record, rename: Callable[[str], str]) -> Record:
    """`record` with `rename` applied to every picture name, those of its neighbors included."""
    if _KEYS_WITH_NAMES.isdisjoint(record):
        return record
    renamed = dict(record)
    for key in PICTURE_KEYS:
        if key in renamed and isinstance(renamed[key], str):
            renamed[key] = rename(renamed[key])
    neighbors = renamed.get("neighbors")
    if isinstance(neighbors, list):
        renamed["neighbors"] = [
            {**near, "file_name": rename(near["file_name"])}
            if isinstance(near, dict) and isinstance(near.get("file_name"), str)
            else near
            for near in neighbors
        ]
    return renamed


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it is empty, or spaces and zero-width characters only."""
    return _VISIBLE.search(text) is None


def check_text(record: Record, key: str) -> None:
    """Raises BadRecord("missing_key", ...) unless the record holds a text under `key`."""
    text = record.get(key)
    if not isinstance(text, str) or is_blank(text):
        what = "a blank text" if isinstance(text, str) else "no text"
        nested = hint_if_nested(record, key)
        why = f"record {record['id']} has {what} under {key!r}{nested}"
        raise BadRecord("missing_key", why, "" if nested else key)


def hint_if_nested(record: Record, key: str) -> str:
    """What to do if a missing key stands under `metadata`, where datatrove writes its fields."""
    if not (isinstance(fields := record.get("metadata"), dict) and key in fields):
        return ""
    return ", but under 'metadata': flatten the lines with jq -c '. + .metadata'"


def annotate_all(
    results: Iterable[Record | Failure], command: str, **facts: Any
) -> Iterator[Record | Failure]:
    """`annotate` of every result that is a record; failures pass unchanged."""
    for result in results:
        yield result if isinstance(result, Failure) else annotate(result, command, **facts)


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """`values` in lists of `size`, the last one shorter."""
    rest = iter(values)
    while batch := list(islice(rest, size)):
        yield batch
