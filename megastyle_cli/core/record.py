"""The JSON line and what every layer knows of it: ids, seeds, picture keys, failures, notes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypedDict

from megastyle_cli.core.errors import BadRecord

Record = dict[str, Any]

# Keys that name a picture; `neighbors` holds records with a `file_name` of their own.
PICTURE_KEYS = ("file_name", "style_file_name", "content_file_name", "target_file_name")
_NAMING = frozenset((*PICTURE_KEYS, "neighbors"))
PROVENANCE = "_megastyle"
ERROR = "_error"
_COMPANY, _OURS = "_company", object()  # an object that no file can hold


class StyleRecord(TypedDict, total=False):
    """What `caption` adds to a picture's record."""

    id: str
    file_name: str
    style: str
    content: str
    style_identity: str
    style_colors: str
    style_accents: str
    style_light: str
    style_pattern: str
    style_surface: str
    style_edges: str
    style_outline: str
    style_brushwork: str
    style_medium: str


class PairRecord(StyleRecord, total=False):
    """What `pair` makes of a style and a content, and `synth` renders."""

    style_id: str
    content_id: str
    style_file_name: str
    content_file_name: str


@dataclass(frozen=True)
class Failure:
    """A record that could not be done: the record as it was read, the kind, and one sentence."""

    record: Record
    kind: str
    message: str


Step = Callable[[Iterable[Record]], Iterator["Record | Failure"]]


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def bytes_id(content: bytes) -> str:
    """The id of a picture: the first 16 hex digits of the SHA-256 of its bytes."""
    return hashlib.sha256(content).hexdigest()[:16]


def text_id(record: Record) -> str:
    """The id of a record without a picture: the same hash over its canonical JSON, no notes."""
    told = {key: value for key, value in record.items() if not key.startswith("_")}
    return bytes_id(canonical_json(told).encode())


def record_seed(seed: int, record_id: str, variation: int = 0) -> int:
    """A seed in [0, 2**32) for one variation of one record, whatever its place, batch or shard."""
    key = f"{seed}:{record_id}:{variation}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big")


@dataclass(frozen=True)
class Run:
    """Which command with which options made a record: those that can change one, no others."""

    command: str
    options: dict[str, Any] = field(default_factory=dict)
    version: str = ""

    @property
    def key(self) -> str:
        """8 hex digits over the command and the options (never device, batch, shard or path)."""
        return hashlib.sha256(canonical_json([self.command, self.options]).encode()).hexdigest()[:8]


def annotate(record: Record, command: str, **facts: Any) -> Record:
    """`record` with `facts` under `_megastyle.<command>`, provenance of earlier commands kept."""
    notes = {**record.get(PROVENANCE, {}), command: facts}
    told = {key: value for key, value in record.items() if key != PROVENANCE}
    return {**told, PROVENANCE: notes}


def as_context_only(record: Record) -> Record:
    """A record that is done, for a step to compare others with: no result of it is wanted."""
    return {**record, _COMPANY: _OURS}


def is_context_only(record: Record) -> bool:
    """Whether it is only there for others to be compared with: nothing of it is to be saved."""
    return record.get(_COMPANY) is _OURS


def rename_pictures(record: Record, rename: Callable[[str], str]) -> Record:
    """`record` with every picture name, its neighbours' too, put through `rename`."""
    if _NAMING.isdisjoint(record):
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


def check_text(record: Record, key: str) -> None:
    """Raises BadRecord("missing_key", ...) unless the record holds a text under `key`."""
    if not isinstance(record.get(key), str):
        raise BadRecord("missing_key", f"record {record['id']} has no text under {key!r}")


def annotate_all(
    results: Iterable[Record | Failure], command: str, **facts: Any
) -> Iterator[Record | Failure]:
    """`results` with `facts` under `_megastyle.<command>`; failures as they are."""
    for result in results:
        yield result if isinstance(result, Failure) else annotate(result, command, **facts)
