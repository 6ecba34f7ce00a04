"""Records whose result a filter rejected: not failures, not in the output, and not tried again."""

from collections import Counter
from pathlib import Path
from types import TracebackType

from megastyle_cli.core.json_file import complete_objects
from megastyle_cli.core.record import PROVENANCE, Failure, Record, rename_pictures
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import to_folder
from megastyle_cli.io.writers.stream import Stream, resumable_output


class RejectsFile:
    """Takes the records that a stage marked as rejected; it is resumed like the output.

    The provenance of a record has the reason as `rejected`, and a `score`. The file can be used as
    an input.
    """

    def __init__(self, path: Path, command: str, *, resume: bool, overwrite: bool) -> None:
        self.path, self.command = path, command
        self._file = resumable_output(path, resume=resume, overwrite=overwrite)
        self._rename = to_folder(Path() if isinstance(self._file, Stream) else path.parent)

    def __enter__(self) -> "RejectsFile":
        self._file.open()
        return self

    @property
    def done(self) -> Counter[str]:
        """How many records of each id earlier runs have written."""
        return self._file.done

    def reason(self, result: Record | Failure) -> str | None:
        """Why the result was rejected; None if it was not."""
        if isinstance(result, Failure):
            return None
        reason = result.get(PROVENANCE, {}).get(self.command, {}).get("rejected")
        return None if reason is None else str(reason)

    def write(self, record: Record) -> None:
        """Adds a line."""
        self._file.write(dump_line(rename_pictures(record, self._rename)))

    def flush(self) -> None:
        """Makes what was written readable by others."""
        self._file.flush()

    def commit(self) -> None:
        """Gives the file its final name."""
        self._file.commit()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._file.close()


class ImageHashFile:
    """The hashes of an output's images, in a file beside it, for a resumed run.

    `hashes` (hex) are those of images whose records are in the output (`done`). An image whose
    record a killed run did not write is generated again, and must not be its own duplicate.
    """

    def __init__(self, path: Path, done: Counter[str], *, resume: bool) -> None:
        before = complete_objects(path, id=str, hash=str) if resume and path.exists() else ()
        hashes = {entry["id"]: entry["hash"] for entry in before if done[entry["id"]]}
        self.path, self.hashes = path, list(hashes.values())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(dump_line({"id": i, "hash": h}) for i, h in hashes.items()))

    def add(self, record_id: str, hash_hex: str) -> None:
        """Appends the hash of one image, before its record is written."""
        with self.path.open("ab") as file:
            file.write(dump_line({"id": record_id, "hash": hash_hex}))
