"""Where records go: work in progress is NAME.partial, and the final name means that all were tried.

Three places behind one class: standard output, a JSON lines file, a folder of pictures with its
metadata.jsonl. Failures go to an errors file beside it, which is itself valid input.
"""

import json
import logging
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from megastyle_cli.errors import MegastyleError
from megastyle_cli.record import ERROR, Failure, Record, Run, bytes_id, rename_pictures
from megastyle_cli.stream.jsonl import OPENERS, SUFFIXES, dump_line
from megastyle_cli.stream.shard import PART, Shard

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Places:
    """The files of one output. `final` None is standard output; names are relative to `base`."""

    final: Path | None
    errors: Path | None
    run: Path | None
    base: Path

    @property
    def partial(self) -> Path:
        assert self.final is not None
        return _partial(self.final)


def places(output: str, shard: Shard, *, folder: bool, errors: str | None = None) -> Places:
    """Where an output of this name goes.

    `folder` is true for image makers. A sharded output is a directory of parts: files for record
    filters, folders for image makers. Raises MegastyleError if the name does not fit.
    """
    named = Path(errors) if errors else None
    if output == "-":
        if shard.count > 1:
            raise MegastyleError(
                "one of several shards cannot write to standard output", hint="give -o DIRECTORY"
            )
        return Places(final=None, errors=named, run=None, base=Path())
    path = Path(output)
    if path.suffix in OPENERS:
        raise MegastyleError(
            f"{path} names a packed file, and outputs are written plain",
            hint=f"give -o {path.with_suffix('')} or pipe into the packer",
        )
    if named == path:
        raise MegastyleError(f"{path} is output and errors file", hint="give two names")
    if shard.count > 1 and named:
        raise MegastyleError("shards cannot share --errors", hint="each has one beside its part")
    if shard.count > 1:
        if path.is_dir():
            _refuse_other_count(path, shard)
        path = path / (shard.part_name if folder else f"{shard.part_name}.jsonl")
    if folder:
        return Places(
            final=path / "metadata.jsonl",
            errors=named or path / "errors.jsonl",
            run=path / "run.json",
            base=path,
        )
    if path.is_dir():
        raise MegastyleError(f"{path} is a directory", hint="give a file name such as out.jsonl")
    stem = next(
        (str(path).removesuffix(s) for s in (*SUFFIXES, ".json") if path.name.endswith(s)),
        str(path),
    )
    return Places(
        final=path,
        errors=named or Path(f"{stem}.errors.jsonl"),
        run=Path(f"{stem}.run.json"),
        base=path.parent,
    )


class Sink:
    """Writes results in the order given; `commit` is the only way to the final name.

    On entering, an existing output is refused, resumed (`done` counts the ids it holds) or removed.
    `kept`, if it is set to a list, also collects the records written.
    An atomic sink (`dedup`, `cluster`, `pair`) has no half steps: until it commits, what stood
    there before still stands.
    Picture names, relative to the working directory until here, become relative to `places.base`.
    """

    def __init__(
        self,
        where: Places,
        run: Run,
        *,
        resume: bool = False,
        overwrite: bool = False,
        force: bool = False,
        is_atomic: bool = False,
        line: Callable[[Record], bytes] = dump_line,
    ) -> None:
        self.where, self.run = where, run
        self.resume, self.overwrite, self.force = resume, overwrite, force
        self.is_atomic, self.dump = is_atomic, line
        self.done: Counter[str] = Counter()
        self.kept: list[Record] | None = None
        self._pictured: Counter[str] = Counter()
        self._lines: IO[bytes] | None = None
        self._failures: IO[bytes] | None = None

    def __enter__(self) -> "Sink":
        failed_before = self.where.errors is not None and self.where.errors.exists()
        if failed_before and not (self.resume or self.overwrite):
            raise MegastyleError(
                f"{self.where.errors} exists", hint="move it, or add --overwrite to replace it"
            )
        if self.where.final is None:
            if self.resume:
                raise MegastyleError("standard output cannot be resumed", hint="give -o FILE")
            self._lines = sys.stdout.buffer
            return self
        if self.is_atomic:  # what a killed run left behind is of no use
            self.where.partial.unlink(missing_ok=True)
        existing = [p for p in (self.where.final, self.where.partial) if p.exists()]
        if existing and not (self.resume or self.overwrite):
            choice = "" if self.is_atomic else "--resume to continue it or "
            raise MegastyleError(
                f"{existing[0]} exists", hint=f"add {choice}--overwrite to start again"
            )
        self.where.base.mkdir(parents=True, exist_ok=True)
        if not os.access(self.where.base, os.W_OK):  # now, not after hours of work
            raise PermissionError(EACCES, "permission denied", str(self.where.base))
        if not self.is_atomic:
            self._start(existing)
        return self

    def write(self, result: Record | Failure) -> None:
        """One line: to the output, or for a Failure to the errors file."""
        if isinstance(result, Failure):
            self._write_failure(result)
            return
        # to standard output names go as they came: they open from here
        is_pipe = self.where.final is None
        self._out.write(self.dump(result) if is_pipe else self._line(result, self.where.base))
        if self.kept is not None:
            self.kept.append(result)

    def flush(self) -> None:
        """Makes all written lines readable by others."""
        for stream in (self._lines, self._failures):
            if stream is not None:
                stream.flush()

    def commit(self) -> None:
        """Gives the finished files their final names."""
        self.flush()
        if self.where.errors is not None:
            self._finish(self._failures, self.where.errors)
            self._failures = None
        if self.where.final is not None and (self.is_atomic or self._lines is not None):
            self._finish(self._out, self.where.final)
        self._lines = None
        if self.is_atomic:
            self._write_run()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for stream in (self._lines if self.where.final else None, self._failures):
            if stream is not None:
                stream.close()
        if self.is_atomic and self.where.final is not None:
            self.where.partial.unlink(missing_ok=True)

    def picture_path(self, record_id: str, suffix: str) -> Path:
        """Where the next picture of this id belongs: one of 256 folders by a hash of the id.

        Records of equal ids may differ in all else, so each gets a picture of its own: `a~1` is
        the second of id `a`.
        """
        earlier = self.done[record_id] + self._pictured[record_id]
        self._pictured[record_id] += 1
        again = f"~{earlier}" if earlier else ""
        hashed = bytes_id(record_id.encode("utf-8", "surrogatepass"))
        is_plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,120}", record_id)
        name = f"{record_id if is_plain else hashed}{again}{suffix}"
        return self.where.base / "images" / hashed[:2] / name

    @property
    def _out(self) -> IO[bytes]:
        if self._lines is None:
            assert self.where.final is not None
            if not self.is_atomic:  # a complete file that is being extended
                self.where.final.rename(self.where.partial)
            self._lines = self.where.partial.open("wb" if self.is_atomic else "ab")
        return self._lines

    def _start(self, existing: list[Path]) -> None:
        if existing and self.resume:
            self._continue(existing[0])
        else:
            for path in existing:
                path.unlink()
            self._lines = self.where.partial.open("xb")  # not one that another process just made
        self._write_run()

    def _line(self, record: Record, base: Path) -> bytes:
        return self.dump(rename_pictures(record, to_folder(base)))

    def _write_failure(self, failure: Failure) -> None:
        log.warning("%s", failure.message)
        if self.where.errors is None:
            return
        if self._failures is None:
            self.where.errors.parent.mkdir(parents=True, exist_ok=True)
            self._failures = _partial(self.where.errors).open("wb")
        told = {"step": self.run.command, "kind": failure.kind, "message": failure.message}
        line = {**failure.record, ERROR: {**failure.record.get(ERROR, {}), **told}}
        self._failures.write(self._line(line, self.where.errors.parent))

    def _finish(self, stream: IO[bytes] | None, final: Path) -> None:
        if stream is None:
            # Nothing failed this time; what failed before was tried again.
            final.unlink(missing_ok=True)
            _partial(final).unlink(missing_ok=True)
            return
        os.fsync(stream.fileno())
        stream.close()
        _partial(final).replace(final)

    def _continue(self, path: Path) -> None:
        self._refuse_other_run()
        self.done = done_ids(path)
        _cut_torn_line(path)
        if path == self.where.partial:
            self._lines = path.open("ab")

    def _refuse_other_run(self) -> None:
        if self.force or self.where.run is None or not self.where.run.exists():
            return
        before = json.loads(self.where.run.read_text())
        if before.get("run") == self.run.key:
            return
        was: Mapping[str, Any] = before.get("options", {})
        names = sorted(was.keys() | self.run.options.keys())
        changed = [
            f"{name} was {was.get(name)!r} and is {self.run.options.get(name)!r}"
            for name in names
            if was.get(name) != self.run.options.get(name)
        ]
        raise MegastyleError(
            f"{self.where.final} was made with other options: {'; '.join(changed)}",
            hint="repeat the options, or --overwrite to start again, or --force to mix the two",
        )

    def _write_run(self) -> None:
        if self.where.run is None:
            return
        facts = {
            "command": self.run.command,
            "run": self.run.key,
            "version": self.run.version,
            "options": self.run.options,
        }
        write_atomically(self.where.run, json.dumps(facts, indent=1) + "\n")


def to_folder(base: Path) -> Callable[[str], str]:
    """How a name that opens from the working directory is called from `base`; URLs stay."""
    # ".." leaves the folder a link points to, not the folder that holds the link
    real = os.path.realpath(base)

    def rename(name: str) -> str:
        if "://" in name:
            return name
        called = os.path.relpath(name, base)
        return os.path.relpath(name, real) if called.startswith("..") else called

    return rename


def write_atomically(path: Path, text: str) -> None:
    """`text` under `path`, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def done_ids(path: Path) -> Counter[str]:
    """How often each id stands in the whole lines of the output at `path`.

    Raises MegastyleError if a whole line is not a record with an id: then it is no output of ours.
    """
    ids: Counter[str] = Counter()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n") or not line.strip():
                continue
            try:
                ids[str(json.loads(line)["id"])] += 1
            except (ValueError, TypeError, KeyError):
                raise MegastyleError(
                    f"{path} line {number} is no record with an id",
                    hint="mend it, or --overwrite to start again",
                ) from None
    return ids


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        keep = sum(len(line) for line in file if line.endswith(b"\n"))
        file.truncate(keep)


def _refuse_other_count(folder: Path, shard: Shard) -> None:
    for path in folder.iterdir():
        match = PART.match(path.name)
        if match and int(match[2]) != shard.count:
            raise MegastyleError(
                f"{folder} holds parts of {int(match[2])}, not of {shard.count}",
                hint="use the same count, or another directory",
            )
