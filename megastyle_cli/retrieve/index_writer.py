"""Adding rows to a saved index: a writer that survives being killed, and its sink."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from megastyle_cli.core.atomic_file import (
    atomic_write,
    ensure_writable,
    flush_to_disk,
    move_into_place,
    open_locked,
    partial_path,
    with_path,
)
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.relative_paths import to_folder
from megastyle_cli.io.writers.errors_file import ErrorsFile
from megastyle_cli.io.writers.sink import Sink
from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.retrieve.embed import embed_records
from megastyle_cli.retrieve.encoder_probe import check_same_encoder, embed_probe
from megastyle_cli.retrieve.index_file import (
    ERRORS,
    FLOAT_BYTES,
    HEADER,
    RECORDS,
    VECTORS,
    IndexHeader,
    check_sizes,
    read_header,
    read_rows,
)

COMMIT_ROWS = 4096
COMMIT_S = 10.0


def index_sink(writer: "IndexWriter", run: Run, errors: str | None) -> Sink:
    """A sink that adds the records of `embed_rows` to an index and skips rows it already has.

    `errors` is the errors file; by default it lies in the index's folder.
    """
    folder = writer.folder
    errors_path = Path(errors) if errors else folder / ERRORS
    paths = OutputPaths(final=folder / RECORDS, errors=errors_path, run=None, base=folder)
    errors_file = ErrorsFile(errors_path, run.command, resume=True, overwrite=False)
    return Sink(
        paths,
        run,
        writer,
        errors_file,
        run_file_first=False,
        line=encode_row,
        unique_key=row_key(folder),
    )


def embed_rows(
    records: Iterable[Record], encoder: StyleEncoder, reader: ImageReader
) -> Iterator[Record | Failure]:
    """The `id`, `file_name` and `vector` (d,) of each record, or a Failure, in order."""
    for result in embed_records(records, encoder, reader):
        if isinstance(result, Failure):
            yield result
        else:
            record, vector = result
            yield {"id": record["id"], "file_name": record["file_name"], "vector": vector}


def encode_row(record: Record) -> bytes:
    """What `IndexWriter.write` takes: the `vector` (d,) as float32, then its line."""
    row: bytes = record["vector"].astype("<f4").tobytes()
    return row + dump_line({"id": record["id"], "file_name": record["file_name"]})


def row_key(folder: Path) -> Callable[[Record], str]:
    """A function from a record to what identifies its row in the index in `folder`: the id, which
    stands for the image's content, and its path."""
    relative = to_folder(folder)
    return lambda record: _row_key(record["id"], relative(str(record.get("file_name"))))


def _row_key(record_id: str, name: str) -> str:
    return f"{record_id} {name}"


class IndexWriter:
    """An output that adds rows to the index in `folder`; `done` counts the keys (`row_key`) there.

    `set_encoder` must be called before the first `write`. A run that is stopped or killed leaves
    `index.json` unchanged and its own count in `index.json.partial`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.done: Counter[str] = Counter()
        self.header: IndexHeader | None = None
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self._saved_rows = 0
        self._saved_s = 0.0

    def open(self) -> None:
        """Locks the index and continues from its last count.

        Raises MegastyleError if the folder is something else, or another process is writing it.
        """
        ensure_writable(self.folder)
        self._check_folder()
        vectors = open_locked(self.folder / VECTORS)
        self._files = vectors, (self.folder / RECORDS).open("a+b")
        try:
            self._continue(*self._files)
        except BaseException:
            self.close()
            raise

    def set_encoder(self, encoder: StyleEncoder, options: dict[str, str]) -> None:
        """Makes `encoder`, chosen by `options`, the encoder of a new index.

        Raises MegastyleError if the index was made by another encoder.
        """
        probe = embed_probe(encoder)
        if self.header is not None:
            header = self.header
            check_same_encoder(str(self.folder), header.encoder, header.probe, encoder, probe)
            return
        self.header = IndexHeader(
            encoder=encoder.name,
            encoder_options=options,
            width=len(probe),
            probe=[float(x) for x in probe],
        )
        self._save()

    def write(self, line: bytes) -> None:
        """Adds a row from `encode_row`."""
        assert self._files is not None and self.header is not None
        row_bytes = self.header.width * FLOAT_BYTES
        vectors, records = self._files
        with with_path(self.folder):
            vectors.write(line[:row_bytes])
            records.write(line[row_bytes:])
        self.header = replace(
            self.header,
            count=self.header.count + 1,
            records_bytes=self.header.records_bytes + len(line) - row_bytes,
        )

    def flush(self) -> None:
        """Syncs and counts the rows written, after COMMIT_ROWS rows or COMMIT_S seconds."""
        if self.header is None:
            return
        is_late = time.monotonic() - self._saved_s > COMMIT_S
        if self.header.count - self._saved_rows >= COMMIT_ROWS or is_late:
            self._save()

    def commit(self) -> None:
        """Makes all rows visible to readers."""
        if self.header is not None:
            self._save()
            header = self.folder / HEADER
            move_into_place(partial_path(header), header, durable=False)

    def close(self) -> None:
        """Closes the files. Without a commit before, counts the rows for the next run."""
        if self._files is None:
            return
        with suppress(OSError):  # a full disk: rows that are not counted are added again
            if self.header is not None and self.header.count > self._saved_rows:
                self._save()
        for file in self._files:
            with suppress(OSError):
                file.close()

    def _continue(self, vectors: BinaryIO, records: BinaryIO) -> None:
        header = self._read_latest_header()
        if header is None:
            return
        check_sizes(self.folder, header)
        self.done = Counter(map(_row_key, *read_rows(self.folder, header)))
        vectors.truncate(header.count * header.width * FLOAT_BYTES)
        records.truncate(header.records_bytes)
        self.header = header
        self._saved_rows, self._saved_s = header.count, time.monotonic()

    def _read_latest_header(self) -> IndexHeader | None:
        final = self.folder / HEADER
        return read_header(partial_path(final)) or read_header(final)

    def _save(self) -> None:
        assert self._files is not None and self.header is not None
        for file in self._files:
            with with_path(self.folder):
                flush_to_disk(file)
        atomic_write(partial_path(self.folder / HEADER), self.header.to_json(), durable=True)
        self._saved_rows, self._saved_s = self.header.count, time.monotonic()

    def _check_folder(self) -> None:
        """Raises MegastyleError if the folder holds other files, or an index without header."""
        if self._read_latest_header() is not None:
            return
        vectors = self.folder / VECTORS
        if vectors.exists() and vectors.stat().st_size:
            raise MegastyleError(
                f"{self.folder} holds {VECTORS} and no {HEADER}",
                hint="copy it whole, or build it again under another name",
            )
        ours = {VECTORS, RECORDS, ERRORS, f"{ERRORS}.partial"}
        others = sorted(path.name for path in self.folder.iterdir() if path.name not in ours)
        if others:
            raise MegastyleError(
                f"{self.folder} is no index: it holds {others[0]}",
                hint="give --index a new folder for --add to make",
            )
