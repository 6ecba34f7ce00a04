"""Parquet shards with the columns of the official releases: id, image, content, style.

Other keys of a record are in metadata.jsonl beside them. Row groups have a limited size, so that
neither writing nor reading needs more than one in memory.
"""

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

from megastyle_cli.core.record import Record
from megastyle_cli.io.formats import PICTURE_MAGIC
from megastyle_cli.io.pyarrow import pa, pq
from megastyle_cli.io.record_names import safe_name

GROUP_ROWS = 100  # as in the releases
GROUP_BYTES = 64 << 20
TEXT = pa.string()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", TEXT)])
# tells the package `datasets` that the column holds pictures
FEATURES = {
    "id": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "content": {"dtype": "string", "_type": "Value"},
    "style": {"dtype": "string", "_type": "Value"},
}
SCHEMA = pa.schema(
    [("id", TEXT), ("image", IMAGE), ("content", TEXT), ("style", TEXT)],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def write(file: BinaryIO, rows: Iterable[tuple[Record, bytes]]) -> None:
    """Writes the rows in order, in groups of at most GROUP_ROWS rows or about GROUP_BYTES."""
    group: list[dict[str, Any]] = []
    group_bytes = 0
    # pictures are compressed already, and all different
    how = {"use_dictionary": ["style"], "write_statistics": ["id"], "compression": "snappy"}
    with pq.ParquetWriter(file, SCHEMA, **how) as writer:
        for record, picture in rows:
            group.append(_row(record, picture))
            group_bytes += len(picture)
            if len(group) == GROUP_ROWS or group_bytes >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, SCHEMA))
                group, group_bytes = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))


def _row(record: Record, picture: bytes) -> dict[str, Any]:
    record_id = str(record["id"])
    suffix = next((s for magic, s in PICTURE_MAGIC.items() if picture.startswith(magic)), "")
    path = f"{safe_name(record_id, 0, signs='._-')}{suffix}"
    texts = {key: _text(record.get(key)) for key in ("content", "style")}
    return {"id": _text(record_id), "image": {"bytes": picture, "path": path}, **texts}


def _text(value: object) -> str | None:
    """A text without lone surrogates, which UTF-8 cannot encode; None for anything else."""
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "backslashreplace").decode()
