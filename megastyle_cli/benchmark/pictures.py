"""The pictures of a benchmark: copied into its folder, counted by licence, and credited.

images/ab/abcd...   each picture as it was, named by its pixel hash
ATTRIBUTION.md      licences and sources, from the keys `license`, `source` and `author`
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePath

from megastyle_cli.benchmark.pixel_hash import pixel_hash
from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import FileGroup, remove
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import PICTURE_KEYS, Record, annotate, batched, bytes_id
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.io.formats import PICTURE_MAGIC, PICTURE_SUFFIXES, picture_bytes
from megastyle_cli.io.images import decode_picture

FOLDER = "images"
ATTRIBUTION = "ATTRIBUTION.md"
NOT_STATED = "not stated"
BATCH = 64  # pictures in memory at a time
NAME_DIGITS = 24


def copy_pictures(records: Sequence[Record], folder: Path, run: str) -> list[Record]:
    """The records with their pictures copied into `folder`, on disk when this returns.

    Each notes `picture`, the id of the file's bytes, and `pixels`, its pixel hash. Keys of other
    pictures and neighbors are dropped: the folder does not hold them. Raises MegastyleError if a
    picture cannot be read.
    """
    rows, stored = list[Record](), dict[Path, str]()
    with closing(FileGroup()) as files:
        for batch in batched(records, BATCH):
            names = [str(record["file_name"]) for record in batch]
            for record, found in zip(batch, parallel_map(_read, names), strict=True):
                if isinstance(found, BadRecord):
                    raise MegastyleError(found.message, hint="repair it, or remove its record")
                content, pixels = found
                path = (
                    folder
                    / FOLDER
                    / pixels[:2]
                    / f"{pixels[:NAME_DIGITS]}{_suffix(record, content)}"
                )
                if path not in stored:
                    stored[path] = bytes_id(content)
                    with files.open(path) as file:
                        file.write(content)
                inside = {k: v for k, v in record.items() if k not in (*PICTURE_KEYS, "neighbors")}
                row = {"id": record["id"], "file_name": str(path)} | inside
                rows.append(annotate(row, "eval", run=run, picture=stored[path], pixels=pixels))
        files.commit()
    return rows


def drop_others(rows: Sequence[Record], folder: Path) -> None:
    """Deletes the pictures of an earlier benchmark in `folder` that none of the rows names."""
    named = {Path(row["file_name"]) for row in rows}
    for path in sorted((folder / FOLDER).glob("??/*")):
        if path not in named:
            remove(path)


def count_licenses(records: Sequence[Record]) -> dict[str, int]:
    """The number of records of each licence, the commonest first."""
    counts = Counter(label_of(record, "license") or NOT_STATED for record in records)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def attribution(records: Sequence[Record], label: str) -> str:
    """The text of ATTRIBUTION.md: for each licence the styles and their sources."""
    return "\n".join(_attribution_lines(records, label)) + "\n"


def _attribution_lines(records: Sequence[Record], label: str) -> Iterator[str]:
    yield "# Attribution"
    for license_name, count in count_licenses(records).items():
        yield f"\n## {license_name}\n\nPictures: {count:,}\n"
        sources: dict[str, list[str]] = {}
        for record in records:
            if (label_of(record, "license") or NOT_STATED) == license_name:
                parts = [label_of(record, key) for key in ("author", "source")]
                source = ", ".join(part for part in parts if part) or "source not stated"
                sources.setdefault(str(label_of(record, label)), []).append(source)
        for style, own in sorted(sources.items()):
            yield f"- {style}: {'; '.join(sorted(set(own)))}"


def _read(name: str) -> tuple[bytes, str] | BadRecord:
    try:
        content = picture_bytes(name)
        return content, pixel_hash(decode_picture(name, content))
    except BadRecord as bad:
        return bad


def _suffix(record: Record, content: bytes) -> str:
    """The suffix that the content asks for, else that of the file's name."""
    for magic, suffix in PICTURE_MAGIC.items():
        if content.startswith(magic):
            return suffix
    own = PurePath(str(record["file_name"])).suffix.lower()
    return own if own in PICTURE_SUFFIXES else ".png"
