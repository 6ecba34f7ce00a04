"""WebDataset shards: a sample for each record, with its picture, a .json and its prompt as .txt."""

import io
import tarfile
from collections.abc import Iterable
from typing import BinaryIO

from megastyle_cli.core.record import Record
from megastyle_cli.io.readers.jsonl import dump_line


def write(file: BinaryIO, rows: Iterable[tuple[Record, bytes]]) -> None:
    """Writes the samples in order; the key of a sample is its picture's name up to the dot.

    The same rows give the same bytes: members have no time and no owner.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for record, picture in rows:
            name = record["file_name"].partition("#")[2]
            key = name.partition(".")[0]
            rest = {name: value for name, value in record.items() if name != "file_name"}
            members = {name: picture, f"{key}.json": dump_line(rest)}
            if prompt := _prompt(record):
                members[f"{key}.txt"] = prompt.encode("utf-8", "surrogatepass")
            for member, content in members.items():
                _add(tar, member, content)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _prompt(record: Record) -> str:
    """`Content. Style.`, as far as the record has them: the order of prompts in the releases."""
    values = [record.get(key) for key in ("content", "style")]
    texts = [value.strip() for value in values if isinstance(value, str) and value.strip()]
    return " ".join(text if text.endswith(".") else f"{text}." for text in texts)
