"""Adding rows to a saved index: a writer that survives being killed, and its sink."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from megastyle_cli.core.atomic_file import (
    atomic_write,
    ensure_writable,
    flush_to_disk,
    is_temporary,
    move_into_place,
    partial_path,
)
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.file_kind import with_path
from megastyle_cli.core.locked_file import copy_in_place, open_locked
from megastyle_cli.core.owner import Owner, acquire, is_owner_file
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.io.formats import picture_exists
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import from_folder, picture_id, to_folder
from megastyle_cli.io.writers.errors_file import ErrorsFile
from megastyle_cli.io.writers.sink import Sink
from megastyle_cli.models.protocols import Ranks, StyleEncoder
from megastyle_cli.retrieval.embed import Array, embed_records
from megastyle_cli.retrieval.encoder_probe import check_same_encoder, embed_probe
from megastyle_cli.retrieval.index_file import (
    ERRORS,
    FLOAT_BYTES,
    HEADER,
    NUMBERED_FORMAT,
    RECORDS,
    VECTORS,
    IndexHeader,
    IndexRows,
    check_sizes,
    read_header,
    read_rows,
    rows_of,
)
from megastyle_cli.retrieval.row_lookup import PICTURE_ID, keep_lookup

COMMIT_ROWS = 4096
COMMIT_S = 10.0


def index_sink(writer: "IndexWriter", run: Run, errors: str | None) -> Sink:
    """A sink that adds the records of `embed_rows` to an index and skips rows it already has.

    `errors` is the errors file; by default it lies in the index's folder.
    """
    folder = writer.folder
    errors_path = Path(errors) if errors else folder / ERRORS
    header = latest_header(folder)
    final = folder / (header.records_name if header else RECORDS)
    paths = OutputPaths(final=final, errors=errors_path, run=None, base=folder)
    errors_file = ErrorsFile(errors_path, run.command, resume=True, overwrite=False)
    return Sink(
        paths,
        run,
        writer,
        errors_file,
        run_file_first=False,
        line=encode_row,
        unique_key=writer.key,
    )


def embed_rows(
    records: Iterable[Record],
    encoder: StyleEncoder,
    reader: ImageReader,
    ranks: Ranks | None = None,
) -> Iterator[Record | Failure]:
    """The row of each record, its `vector` (d,) with it, or a Failure, in order."""
    for result in embed_records(records, encoder, reader, ranks):
        if isinstance(result, Failure):
            yield result
        else:
            record, vector = result
            row = {"id": record["id"], "file_name": record["file_name"], "vector": vector}
            yield {**row, PICTURE_ID: _picture_id(record)}


def encode_row(record: Record) -> bytes:
    """What `IndexWriter.write` takes: the `vector` (d,) as float32, then its line."""
    vector: bytes = record["vector"].astype("<f4").tobytes()
    line = {"id": record["id"], "file_name": record["file_name"]}
    if record[PICTURE_ID] != record["id"]:
        line[PICTURE_ID] = record[PICTURE_ID]
    return vector + dump_line(line)


def latest_header(folder: Path) -> IndexHeader | None:
    """The header of the last writer, which may have been killed; None if there is no index."""
    final = folder / HEADER
    return read_header(partial_path(final)) or read_header(final)


def _row_key(record_id: str, name: str, of_picture: str) -> str:
    return f"{record_id} {of_picture} {name}"


def _picture_id(record: Record) -> str:
    """The hash of the record's picture, which its id need not be; "" if it cannot be read."""
    try:
        return str(record.get(PICTURE_ID) or picture_id(record.get("file_name")))
    except BadRecord:
        return ""


class IndexWriter:
    """An output that adds rows to the index in `folder`; `done` counts the keys (`key`) there.

    `set_encoder` must be called before the first `write`. A run that is stopped or killed leaves
    `index.json` unchanged and its own count in `index.json.partial`. The commit drops the rows of
    pictures that were replaced under their name, and with `prune` of those that no longer exist;
    `counts` and `remarks` then say what it did.
    """

    def __init__(self, folder: Path, *, prune: bool = False) -> None:
        self.folder, self.prune = folder, prune
        self.done: Counter[str] = Counter()
        self.header: IndexHeader | None = None
        self.counts: dict[str, Any] = {}
        self.remarks: list[str] = []
        self._relative = to_folder(folder)
        self._listed: dict[str, str] = {}  # the picture's hash by name, of each record met
        self._owner: Owner | None = None
        self._files: tuple[BinaryIO, BinaryIO] | None = None
        self._rows_before = 0
        self._saved_rows = 0
        self._saved_s = 0.0

    def key(self, record: Record) -> str:
        """What identifies the row of a record: its id, its path and the hash of its picture."""
        name = self._relative(str(record.get("file_name")))
        if of_picture := _picture_id(record):
            self._listed[name] = of_picture
        return _row_key(record["id"], name, of_picture)

    def open(self) -> None:
        """Locks the index and continues from its last count.

        Raises MegastyleError if the folder is something else, or another process is writing it.
        """
        ensure_writable(self.folder)
        self._check_folder()
        self._owner = acquire(self.folder / HEADER)
        try:
            header = latest_header(self.folder)
            if self._owner.is_takeover:
                for path in self._paths(header):
                    copy_in_place(path)
            self._files = self._open_files(header)
            if header is not None:
                self._continue(header, *self._files)
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
        """Makes all rows visible to readers, but those that are stale or pruned."""
        if self.header is None:
            return
        self._save()
        rows = read_rows(self.folder, self.header)
        is_dropped = self._outdated(rows)
        self._drop(is_dropped)
        with suppress(OSError):  # a full disk: a search reads all rows then
            kept = np.flatnonzero(~is_dropped).tolist()
            ids, pictures = ([each[row] for row in kept] for each in (rows.ids, rows.picture_ids))
            keep_lookup(rows_of(self.folder, self.header), ids, pictures)
        header = self.folder / HEADER
        assert self._owner is not None
        self._owner.check()
        move_into_place(partial_path(header), header)
        self._delete_old_generations()

    def close(self) -> None:
        """Closes the files. Without a commit before, counts the rows for the next run."""
        if self._owner is None:
            return
        # a full disk, or another process that took over: rows not counted are added again
        with suppress(OSError, MegastyleError):
            if self._files and self.header is not None and self.header.count > self._saved_rows:
                self._save()
        _close(self._files or ())
        self._owner.release()

    def _open_files(self, header: IndexHeader | None) -> tuple[BinaryIO, BinaryIO]:
        vectors, records = self._paths(header)
        return open_locked(vectors, self._owner), records.open("a+b")

    def _paths(self, header: IndexHeader | None) -> tuple[Path, Path]:
        vectors = self.folder / (header.vectors_name if header else VECTORS)
        return vectors, self.folder / (header.records_name if header else RECORDS)

    def _continue(self, header: IndexHeader, vectors: BinaryIO, records: BinaryIO) -> None:
        check_sizes(self.folder, header)
        self.done = Counter(_row_key(*row) for row in read_rows(self.folder, header))
        vectors.truncate(header.count * header.width * FLOAT_BYTES)
        records.truncate(header.records_bytes)
        self.header = header
        self._rows_before = header.count
        self._saved_rows, self._saved_s = header.count, time.monotonic()

    def _outdated(self, rows: IndexRows) -> Array:
        """Which rows (n,) the index loses. Fills in `counts` and `remarks`.

        These are the rows whose picture differs from the one listed under their name or, if none
        was listed, from that of the last row of that name; with `prune` also rows whose file does
        not exist.
        """
        current = dict(zip(rows.names, rows.picture_ids, strict=True)) | self._listed
        is_stale = np.array([current[name] != picture for _, name, picture in rows], bool)
        here = from_folder(str(self.folder))
        is_gone = (
            np.array([not picture_exists(here(name)) for name in rows.names], bool) & ~is_stale
        )
        if self.prune and len(is_gone) and is_gone.all():
            raise MegastyleError(
                f"the files of all {len(is_gone):,} rows of {self.folder} do not exist",
                hint="mount the folder of the images, or build a new index",
            )
        self._count(rows, is_stale, is_gone)
        return is_stale | is_gone if self.prune else is_stale

    def _count(self, rows: IndexRows, is_stale: Array, is_gone: Array) -> None:
        is_new = np.arange(len(rows.names)) >= self._rows_before
        names = np.array(rows.names, object)
        stale, new = set(names[is_stale]), set(names[is_new & ~is_stale])
        unchanged = set(names[~is_new & ~is_stale]) & self._listed.keys()
        self.counts |= {
            "added": len(new - stale),
            "replaced": len(new & stale),
            "unchanged": len(unchanged - new),
            "gone": int(is_gone.sum()),
        }
        counts = ", ".join(f"{self.counts[what]:,} {what}" for what in list(self.counts)[:3])
        lost = len(stale - new - unchanged)
        self.remarks.append(
            f"{self.folder}: {counts}"
            + (f", {lost:,} removed (no longer readable)" if lost else "")
        )
        if self.counts["gone"]:
            left = len(names) - int(is_stale.sum())
            self.remarks.append(
                f"{self.folder}: {self.counts['gone']:,} of {left:,} rows name a file that does"
                f" not exist: {'removed' if self.prune else '--prune removes them'}"
            )

    def _drop(self, is_dropped: Array) -> None:
        """Copies the other rows to files of the next generation, which the next header names."""
        assert self._files is not None and self.header is not None
        if not is_dropped.any():
            return
        header = replace(self.header, format=NUMBERED_FORMAT, generation=self.header.generation + 1)
        row_bytes = header.width * FLOAT_BYTES
        copies = self._open_files(header)
        try:
            for file in copies:
                file.truncate(0)  # left by a writer that was killed
            for file in (*copies, *self._files):
                file.seek(0)
            with with_path(self.folder):
                for is_out, line in zip(is_dropped, self._files[1], strict=False):
                    row = self._files[0].read(row_bytes)
                    if not is_out:
                        copies[0].write(row)
                        copies[1].write(line)
        except BaseException:
            _close(copies)
            raise
        _close(self._files)
        self._files = copies
        self.header = replace(
            header, count=int((~is_dropped).sum()), records_bytes=copies[1].tell()
        )
        self._save()

    def _delete_old_generations(self) -> None:
        """Deletes files of vectors and records that the header does not name."""
        assert self.header is not None
        names = {self.header.vectors_name, self.header.records_name}
        for pattern in ("vectors*.f32", "records*.jsonl"):
            for path in self.folder.glob(pattern):
                if path.name not in names:
                    path.unlink(missing_ok=True)

    def _save(self) -> None:
        assert self._files is not None and self.header is not None and self._owner is not None
        self._owner.check()
        for file, name in zip(self._files, (VECTORS, RECORDS), strict=True):
            with with_path(self.folder):
                flush_to_disk(file, self.folder / name)
        atomic_write(partial_path(self.folder / HEADER), self.header.to_json())
        self._saved_rows, self._saved_s = self.header.count, time.monotonic()

    def _check_folder(self) -> None:
        """Raises MegastyleError if the folder holds other files, or an index without header."""
        if latest_header(self.folder) is not None:
            return
        vectors = self.folder / VECTORS
        if vectors.exists() and vectors.stat().st_size:
            raise MegastyleError(
                f"{self.folder} holds {VECTORS} but no {HEADER}",
                hint="copy the whole folder again, or build the index under another name",
            )
        ours = {VECTORS, RECORDS, ERRORS, f"{ERRORS}.partial"}
        others = sorted(
            path.name
            for path in self.folder.iterdir()
            if path.name not in ours and not is_temporary(path) and not is_owner_file(path)
        )
        if others:
            raise MegastyleError(
                f"{self.folder} is not an index: it holds {others[0]}",
                hint="to create one, give --index a new folder",
            )


def _close(files: Iterable[BinaryIO]) -> None:
    for file in files:
        with suppress(OSError):
            file.close()
