"""Where results go: records to the output, failures to the errors file, pictures beside."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from megastyle_cli.core.atomic_file import AtomicFile, ResumableFile, atomic_write
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, Run, rename_pictures
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.relative_paths import LISTING, to_folder, to_listing_keys
from megastyle_cli.io.writers.errors_file import ErrorsFile
from megastyle_cli.io.writers.image_dataset import (
    ImageFolderWriter,
    ImageFormat,
    ImageWriter,
    image_writer_for,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class Output(Protocol):
    """What takes the lines: standard output, a file that grows, a file that is whole or not.

    `done` counts the ids that stood there when it was opened.
    """

    done: Counter[str]

    def open(self) -> None: ...
    def write(self, line: bytes) -> None: ...
    def flush(self) -> None: ...
    def commit(self) -> None: ...
    def close(self) -> None: ...


class Stdout:
    """Standard output, which has no name to finish and is not ours to close."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        # kept, since a library that prints may have its words sent elsewhere for a while
        self._lines = sys.stdout.buffer

    def open(self) -> None: ...

    def write(self, line: bytes) -> None:
        """Adds a line."""
        self._lines.write(line)

    def flush(self) -> None:
        """Makes what was written readable by the next command."""
        self._lines.flush()

    def commit(self) -> None:
        """Nothing is left to do but to hand over the last lines."""
        self.flush()

    def close(self) -> None: ...


class Sink:
    """Writes results in the order given; `commit` is the only way to the final name.

    Picture names, relative to the working directory until here, become relative to `paths.base`.
    `written`, if it is set to a list, also collects the records written. `once` gives the key under
    which `done` counts a record, if not its id, and of which there is never more than one. The note
    on the run is there from the start where a run may be resumed (`notes_first`), else from the
    commit on.
    """

    def __init__(
        self,
        paths: OutputPaths,
        run: Run,
        output: Output,
        errors: ErrorsFile,
        *,
        notes_first: bool,
        line: Callable[[Record], bytes] = dump_line,
        pictures: ImageWriter | None = None,
        image_format: ImageFormat | None = None,
        once: Callable[[Record], str] | None = None,
    ) -> None:
        self.paths, self.run, self.output, self.errors = paths, run, output, errors
        self.notes_first, self.once = notes_first, once
        self.pictures = pictures or ImageFolderWriter(paths.base)
        self.image_format = image_format or ImageFormat()
        self.written: list[Record] | None = None
        self._pictured: Counter[str] = Counter()
        self._line = line
        # to standard output names go as they came: they open from here
        self._rename = to_folder(paths.base) if paths.final else None

    def __enter__(self) -> "Sink":
        self.errors.open()
        self.output.open()
        self.pictures.open(resume=bool(self.output.done))
        if self.notes_first:
            self._note_run()
        return self

    @property
    def done(self) -> Counter[str]:
        """How often each id, or key of `once`, stands there from before."""
        return self.output.done

    def write(self, result: Record | bytes | Failure) -> None:
        """One line: to the output, or for a Failure to the errors file.

        Bytes are lines already, of records without pictures.
        """
        if isinstance(result, bytes):
            self.output.write(result)
            return
        if isinstance(result, Failure):
            self.errors.write(result)
            return
        named = rename_pictures(result, self._rename) if self._rename else result
        if self.paths.final and self.paths.final.name == LISTING:
            named = to_listing_keys(named)
        self.output.write(self._line(self.pictures.placed(named)))
        if self.pictures.is_full:
            self.output.flush()
            self.pictures.pack()
        if self.written is not None:
            self.written.append(result)

    def flush(self) -> None:
        """Makes all written lines readable by others."""
        self.output.flush()
        self.errors.flush()

    def commit(self) -> None:
        """Gives the finished files their final names."""
        self.errors.commit()
        self.pictures.commit()
        self.output.commit()
        if not self.notes_first:
            self._note_run()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.output.close()
        self.errors.close()

    def save_image(self, record_id: str, image: "Image") -> str:
        """Saves an image that was made for this id; returns its name, to be written in a record."""
        from megastyle_cli.io.images import save_picture  # Pillow: not for commands over text

        earlier = self.done[record_id] + self._pictured[record_id]
        self._pictured[record_id] += 1
        path = self.pictures.path(record_id, earlier, self.image_format.suffix)
        save_picture(image, path, self.image_format.quality)
        return str(path)

    def _note_run(self) -> None:
        if self.paths.run is None:
            return
        facts = {
            "command": self.run.command,
            "run": self.run.key,
            "version": self.run.version,
            "options": self.run.options,
        }
        atomic_write(self.paths.run, json.dumps(facts, indent=1) + "\n", durable=False)


def resumable_sink(
    paths: OutputPaths,
    run: Run,
    *,
    resume: bool,
    overwrite: bool,
    force: bool,
    layout: ImageFormat | None = None,
) -> Sink:
    """For maps: what is done is readable at once, under the partial name, and can be resumed.

    `layout` says how an image maker's pictures are kept. Raises MegastyleError if what is to be
    resumed was made with other options, unless `force`.
    """
    errors = ErrorsFile(paths.errors, run.command, resume=resume, overwrite=overwrite)
    if paths.final is None:
        if resume:
            raise MegastyleError("standard output cannot be resumed", hint="give -o FILE")
        return Sink(paths, run, Stdout(), errors, notes_first=True)
    output = ResumableFile(paths.final, resume=resume, overwrite=overwrite)
    if resume and not force and output.existing():
        _check_same_run(paths, run)
    image_format = layout or ImageFormat()
    return Sink(
        paths,
        run,
        output,
        errors,
        notes_first=True,
        pictures=image_writer_for(paths.base, image_format, output.existing()),
        image_format=image_format,
    )


def atomic_sink(
    paths: OutputPaths, run: Run, *, overwrite: bool, line: Callable[[Record], bytes] = dump_line
) -> Sink:
    """For commands that read all before they write: the whole output, or what was there before."""
    errors = ErrorsFile(paths.errors, run.command, resume=False, overwrite=overwrite)
    output = AtomicFile(paths.final, overwrite=overwrite) if paths.final else Stdout()
    return Sink(paths, run, output, errors, notes_first=False, line=line)


def _check_same_run(paths: OutputPaths, run: Run) -> None:
    if paths.run is None or not paths.run.exists():
        return
    before = json.loads(paths.run.read_text())
    if before.get("run") == run.key:
        return
    was: Mapping[str, Any] = before.get("options", {})
    names = sorted(was.keys() | run.options.keys())
    changed = [
        f"{name} was {was.get(name)!r} and is {run.options.get(name)!r}"
        for name in names
        if was.get(name) != run.options.get(name)
    ]
    version = before.get("version")
    by = f" by megastyle {version}" if version != run.version else ""
    raise MegastyleError(
        f"{paths.final} was made{by} with other options: {'; '.join(changed)}",
        hint="repeat the options, or --overwrite to start again, or --force to mix the two",
    )
