"""Where results go: records to the output, failures to the errors file, pictures beside them."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from megastyle_cli.core.atomic_file import AtomicFile, ResumableFile, atomic_write, committing
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.failure_log import FailureLog
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import Failure, Record, Run, rename_pictures
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.own_runs import EARLIER, runs_beside
from megastyle_cli.io.picture_names import PictureNames
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import LISTING, to_listing_keys
from megastyle_cli.io.writers.errors_file import ErrorsFile
from megastyle_cli.io.writers.image_dataset import (
    ImageFormat,
    ImageWriter,
    check_holds_no_pictures,
    image_writer_for,
)
from megastyle_cli.io.writers.part_order import PartOrder
from megastyle_cli.io.writers.stream import Stream, atomic_output, resumable_output

if TYPE_CHECKING:
    from PIL.Image import Image


class Output(Protocol):
    """Takes lines: a Stream, an AtomicFile, a ResumableFile, or a stage's own.

    `done` counts the ids that it held when it was opened.
    """

    done: Counter[str]

    def open(self) -> None: ...
    def write(self, line: bytes) -> None: ...
    def flush(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Sink:
    """Writes results in the order given; nothing has its final name before `commit`.

    Picture names, relative to the working directory until here, become relative to `paths.base`.
    `unique_key` gives the key by which `done` counts a record, by default its id, if no two records
    of the output share it. run.json is written at the start if a run can be resumed
    (`run_file_first`), else at the commit. If `written` is set to a list, it collects the records.
    """

    def __init__(
        self,
        paths: OutputPaths,
        run: Run,
        output: Output,
        errors: ErrorsFile | None,
        *,
        run_file_first: bool,
        line: Callable[[Record], bytes] = dump_line,
        pictures: ImageWriter | None = None,
        unique_key: Callable[[Record], str] | None = None,
        order: PartOrder | None = None,
    ) -> None:
        self.paths, self.run, self.output, self.errors = paths, run, output, errors
        self.run_file_first, self.unique_key = run_file_first, unique_key
        self.pictures = pictures  # None: no pictures are made
        self._order = order  # of a part
        # other outputs, which appear together with this one
        self.side_outputs: list[AtomicFile | Stream] = []
        self.written: list[Record] | None = None
        self._failures: FailureLog | None = None
        self.earlier_runs: list[str] = []  # whose records stay in the output
        # lines and their positions, which wait for their pictures to be on disk
        self._lines: list[tuple[bytes, int]] = []
        self._line = line
        # names on a stream stay relative to the working directory
        self._rename = paths.rename

    def __enter__(self) -> "Sink":
        if self.errors:
            self.errors.check()
        try:
            for file in (self.output, *self._files_beside):
                file.open()
            if self._order:
                self._order.open(sum(self.output.done.values()))
            if self.pictures:
                self.pictures.open(resume=bool(self.output.done))
                for record_id in self.pictures.damaged:
                    del self.output.done[record_id]
            if self.run_file_first:
                self._write_run_file()
        except BaseException:
            self._close()
            raise
        return self

    @property
    def _files_beside(self) -> list[ErrorsFile | AtomicFile | Stream]:
        return [*([self.errors] if self.errors else []), *self.side_outputs]

    @property
    def done(self) -> Counter[str]:
        """How many records of each id, or `unique_key`, earlier runs have written."""
        return self.output.done

    def write(self, result: Record | bytes | Failure, position: int = 0) -> None:
        """Writes a record to the output, a Failure to the errors file, if there is one.

        Bytes are complete lines of records without pictures. A record whose picture was damaged
        has its line already; other lines wait until `flush` for their pictures to be on disk. In a
        part the `position` of the record in the whole input is kept.
        """
        if isinstance(result, bytes):
            self.output.write(result)
            return
        if isinstance(result, Failure):
            self._failures = self._failures or FailureLog(self.run.command)
            self._failures.add(result)
            if self.errors:
                self.errors.write(result)
            return
        record = rename_pictures(result, self._rename) if self._rename else result
        if self.paths.final and self.paths.final.name == LISTING:
            record = to_listing_keys(record)
        if self.pictures is None:
            self._write_line(self._line(record), position)
        else:
            self._add_picture(record, position, self.pictures)
        if self.written is not None:
            self.written.append(result)

    def flush(self) -> None:
        """Makes all written lines readable by others.

        Raises MegastyleError (exit code 75) if another process has taken the output over.
        """
        self._write_lines()
        if self._order:
            self._order.flush()
        self.output.flush()
        if self.errors:
            self.errors.flush()

    def commit(self) -> None:
        """Gives the finished files their final names, that of the output last."""
        self.flush()
        if not self.run_file_first:
            self._write_run_file()
        if self.pictures:
            self.pictures.commit()
        if self._order:
            self._order.commit()
        for file in self._files_beside:
            file.finish()
        finals = [path for file in self._files_beside if (path := file.final)]
        finals += [self.paths.final] if self.paths.final else []
        with committing(finals) if finals else nullcontext():
            for each in (*self._files_beside, self.output):
                each.commit()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._failures:
            self._failures.close(self.paths.errors)
        for file in (self.output, *self._files_beside):
            file.close()
        if self._order:
            self._order.close()
        if self.pictures:
            self.pictures.files.close()

    def save_image(self, record_id: str, image: "Image", source: object = None) -> str:
        """Saves an image made for the record of this id; returns its name.

        `source` is the `file_name` that the record was read with, if it had one.
        """
        from megastyle_cli.io.images import encode_picture  # Pillow: not for commands over text

        assert self.pictures, "this output holds no pictures"
        path = self.pictures.path_for(record_id, source)
        with self.pictures.files.open(path) as file:
            encode_picture(image, file, path.suffix, self.pictures.layout.quality)
        return str(path)

    def _write_line(self, line: bytes, position: int) -> None:
        if self._order:
            self._order.write(position)
        self.output.write(line)

    def _add_picture(self, record: Record, position: int, pictures: ImageWriter) -> None:
        record = pictures.add(record)
        if pictures.damaged[record["id"]] > 0:
            pictures.damaged[record["id"]] -= 1
        else:
            self._lines.append((self._line(record), position))
        if pictures.is_full:
            self._write_lines()
            if self._order:
                self._order.flush()
            self.output.flush()
            pictures.pack()

    def _write_lines(self) -> None:
        """Writes the lines that wait, once the pictures that they name are on disk."""
        if self.pictures:
            self.output.flush()  # no picture is replaced once the output is another process's
            self.pictures.files.commit()
        for line, position in self._lines:
            self._write_line(line, position)
        self._lines = []

    def _write_run_file(self) -> None:
        if self.paths.run is None:
            return
        content = {
            "command": self.run.command,
            "run": self.run.key,
            "version": self.run.version,
            "options": self.run.options,
            **({EARLIER: self.earlier_runs} if self.earlier_runs else {}),
        }
        atomic_write(self.paths.run, json.dumps(content, indent=1) + "\n")


def resumable_sink(
    paths: OutputPaths,
    run: Run,
    *,
    resume: bool,
    overwrite: bool,
    force: bool,
    layout: ImageFormat | None = None,
    inputs: Sequence[str] = (),
    limit: int | None = None,
    line: Callable[[Record], bytes] = dump_line,
    is_part: bool = False,
) -> Sink:
    """For commands that write as they read: lines can be read at once, under NAME.partial.

    `layout` says how pictures are stored, if any are made; they are called as the files that they
    were made from (`inputs`, at most `limit` records), or by ids. `line` is how a record is written
    to a stream. Of a part (`is_part`) the positions of its records are kept. Raises MegastyleError
    if the output to be resumed was made with other options, unless `force`.
    """
    errors = _errors_file(paths, run, resume=resume, overwrite=overwrite)
    if paths.final is None:
        if resume:
            name = paths.stream or "standard output"
            raise MegastyleError(f"{name} cannot be resumed", hint="give -o FILE")
        return Sink(paths, run, Stream(paths.stream), errors, run_file_first=True, line=line)
    output = resumable_output(paths.final, resume=resume, overwrite=overwrite)
    before, pictures = None, None
    try:
        if isinstance(output, ResumableFile):
            if resume and not force and output.existing():
                _check_same_run(paths, run)
            output.lock()
            before = output.existing()
            if resume and not force and before:  # perhaps of a process that has ended just now
                _check_same_run(paths, run)
        if layout and not (before or overwrite):
            check_holds_no_pictures(paths.base)
        if layout:
            names = PictureNames(inputs, limit, paths.base)
            pictures = image_writer_for(paths.base, layout, before, names)
    except BaseException:
        output.close()
        raise
    order = PartOrder(paths.final) if is_part else None
    sink = Sink(paths, run, output, errors, run_file_first=True, pictures=pictures, order=order)
    if resume and before:
        earlier = {key for command, key in runs_beside(paths.final) if command == run.command}
        sink.earlier_runs = sorted(earlier - {run.key})
    return sink


def atomic_sink(
    paths: OutputPaths,
    run: Run,
    *,
    overwrite: bool,
    line: Callable[[Record], bytes] = dump_line,
    side_outputs: Sequence[AtomicFile | Stream] = (),
) -> Sink:
    """For commands that read everything before they write: the outputs appear as a whole."""
    finals = [path for side in side_outputs if (path := side.final)]
    last = paths.final or (finals[-1] if finals else None)
    errors = _errors_file(paths, run, resume=False, overwrite=overwrite, last=last)
    output = (
        atomic_output(paths.final, overwrite=overwrite) if paths.final else Stream(paths.stream)
    )
    sink = Sink(paths, run, output, errors, run_file_first=False, line=line)
    sink.side_outputs += side_outputs
    return sink


def _errors_file(
    paths: OutputPaths, run: Run, *, resume: bool, overwrite: bool, last: Path | None = None
) -> ErrorsFile | None:
    if paths.errors is None:
        return None
    return ErrorsFile(paths.errors, run.command, resume=resume, overwrite=overwrite, last=last)


def _check_same_run(paths: OutputPaths, run: Run) -> None:
    if paths.run is not None and paths.run.exists():
        run.check_same_as(read_object(paths.run), paths.final)
