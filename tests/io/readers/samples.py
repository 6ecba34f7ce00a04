"""Samples for tests of readers: the same records as files, parquet and tar."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import read_records
from tests.conftest import draw, jsonl

SAMPLES = [
    {"id": f"s{n // 2}_c{n}", "content": f"Frog {n}", "style": f"In ink {n // 2}.", "n": n}
    for n in range(7)
]


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw(seed).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def as_tar(path: Path, records: list[dict[str, Any]] = SAMPLES) -> Path:
    members = []
    for n, record in enumerate(records):
        members += [(f"{n:04}.png", png(n)), (f"{n:04}.json", json.dumps(record).encode())]
    return write_tar(path, members)


def as_parquet(path: Path, records: list[dict[str, Any]] = SAMPLES, **options: Any) -> Path:
    images = [{"bytes": png(n), "path": f"{n}.jpg"} for n in range(len(records))]
    rows = [{**record, "image": image} for record, image in zip(records, images, strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), path, **{"row_group_size": 3, **options})
    return path


def as_files(folder: Path, records: list[dict[str, Any]] = SAMPLES) -> Path:
    folder.mkdir()
    for n in range(len(records)):
        (folder / f"{n}.png").write_bytes(png(n))
    jsonl(
        folder / "metadata.jsonl",
        [{**record, "file_name": f"{n}.png"} for n, record in enumerate(records)],
    )
    return folder


def whole(*inputs: object) -> list[Record]:
    records = []
    for found in read_records([str(name) for name in inputs]):
        assert not isinstance(found, Failure), found.message
        records.append(found)
    return records


def failures(*inputs: object) -> list[Failure]:
    return [found for found in read_records(list(map(str, inputs))) if isinstance(found, Failure)]


def but(records: list[Record], *keys: str) -> list[Record]:
    return [{key: value for key, value in r.items() if key not in keys} for r in records]
