"""The errors file: failed records with the reason, which can be used as an input again."""

import json
import logging
from pathlib import Path

from megastyle_cli.core.atomic_file import is_uncommitted
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream, link_target
from megastyle_cli.core.record import Failure, Record, record_key, rename_pictures, with_error
from megastyle_cli.io.readers.compressed import open_decompressed
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import from_folder, to_folder
from megastyle_cli.io.writers.stream import Stream, atomic_output

log = logging.getLogger(__name__)


class ErrorsFile:
    """Writes all failures to `path`. With `resume`, an earlier failure stays until its record is
    tried again."""

    def __init__(
        self,
        path: Path,
        command: str,
        *,
        resume: bool,
        overwrite: bool,
        last: Path | None = None,
    ) -> None:
        """`last` is the output of the run that gets its name after this file: `committing`."""
        self.path, self.command, self.last = path, command, last
        self.resume, self.overwrite = resume, overwrite
        self._file = atomic_output(path, overwrite=True)
        self._earlier: dict[str, bytes] = {}
        self._has_lines = False

    def check(self) -> None:
        """Raises MegastyleError if the file exists and is neither resumed nor overwritten."""
        if self.resume or self.overwrite or is_stream(self.path):
            return
        if self.path.exists() and not is_uncommitted(self.path, self.last):
            raise MegastyleError(
                f"{self.path} exists", hint="move it, or add --overwrite to replace it"
            )

    def open(self) -> None:
        """Raises MegastyleError if another process is writing the file."""
        self._file.open()
        if self.path.exists() and self.resume:
            self._earlier = read_failures(self.path)

    @property
    def final(self) -> Path | None:
        """The name of the file; None for a stream, and while there is no failure to stand in it."""
        return self._file.final if self._has_lines or self._earlier else None

    def mark_retried(self, found: Record | Failure) -> None:
        """Drops the earlier failure of a record that was tried again."""
        for key in (record_key(found), _name_of(found)):
            self._earlier.pop(key, None)

    def write(self, failure: Failure) -> None:
        """Adds a line: the record as it was read, with `_error`."""
        record = with_error(failure, self.command)
        folder = Path() if isinstance(self._file, Stream) else self.path.parent
        self._file.write(dump_line(rename_pictures(record, to_folder(folder))))
        self._has_lines = True

    def flush(self) -> None:
        """Makes what was written readable by others."""
        self._file.flush()

    def finish(self) -> None:
        """Writes the last lines, those of earlier failures; none follows."""
        for line in self._earlier.values():
            self._file.write(line)
            self._has_lines = True
        self._earlier = {}
        self._file.finish()

    def commit(self) -> None:
        """Gives the file its final name, or removes it if nothing failed."""
        self.finish()
        if self.final or isinstance(self._file, Stream):
            self._file.commit()
        else:
            link_target(self.path).unlink(missing_ok=True)
            self._file.close()

    def close(self) -> None:
        """Closes the file, which is left as it was unless committed."""
        self._file.close()


def _name_of(result: Record | Failure) -> str:
    # a picture that could not be read had no id
    record = result.record if isinstance(result, Failure) else result
    return str(record.get("file_name"))


def read_failures(path: Path) -> dict[str, bytes]:
    """The lines of an errors file by `key_of` their record; other lines are dropped."""
    here = from_folder(str(path.parent))
    found = {}
    with open_decompressed(path) as lines:
        for line in lines:
            try:
                found[record_key(rename_pictures(json.loads(line), here))] = line
            except (ValueError, AttributeError):
                log.warning("%s holds a line that is not a record", path)
    return found
