"""The files of an output: its records, its failures, and run.json with the options of the run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stdout, is_stream
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.formats import FILE_SUFFIXES, JSON_LINES
from megastyle_cli.io.record_names import LISTING, to_folder
from megastyle_cli.io.shard_note import number_of_parts, other_count


@dataclass(frozen=True, kw_only=True)
class OutputPaths:
    """The files of one output. `final` is None for a stream: `stream`, or standard output.

    Picture names in its records are relative to `base`.
    """

    final: Path | None
    stream: Path | None = None
    errors: Path | None
    run: Path | None
    base: Path

    @property
    def rename(self) -> Callable[[str], str] | None:
        """What makes picture names relative to `base`; None if they stay as they are."""
        return to_folder(self.base) if self.final else None


def output_paths(
    output: str, shard: Shard, *, folder: bool, errors: str | None = None, is_summary: bool = False
) -> OutputPaths:
    """The files of the output that the option -o names.

    `folder` is true for commands that make pictures. A sharded output is a directory of parts: of
    folders for these commands, of files for the others. A summary is one object, so that it may be
    a .json file. Raises MegastyleError if the name does not fit.
    """
    named = Path(errors) if errors else None
    path = Path(output)
    if is_stdout(output) or (not folder and is_stream(path)):
        if shard.is_part:
            raise MegastyleError("--shard cannot write to a stream", hint="give -o DIR")
        stream = None if is_stdout(output) else path
        return OutputPaths(final=None, stream=stream, errors=named, run=None, base=Path())
    if folder or shard.is_part:
        check_folder_name(output)
    elif output.endswith("/"):
        raise MegastyleError(
            f"{output} is a folder, but records are written to one file",
            hint=f"give a file name, such as {output}out.jsonl",
        )
    else:
        check_records_name(path, others=(".json",) if is_summary else ())
    if named is not None:
        check_records_name(named)
    if named == path:
        raise MegastyleError(
            f"{path} is both the output and the errors file", hint="give two names"
        )
    if shard.is_part:
        if named:
            raise MegastyleError(
                "shards cannot share --errors",
                hint="omit it: each shard writes its own beside its part",
            )
        there = number_of_parts(path)
        if there not in (None, shard.count):
            raise other_count(path, there, shard.count)
        path = path / (shard.part_name if folder else f"{shard.part_name}.jsonl")
    return _folder(path, named) if folder else _file(path, named)


def check_records_name(path: Path, others: tuple[str, ...] = ()) -> None:
    """Raises MegastyleError if the suffix says another format than JSON lines, or one of `others`.

    A name without a suffix says nothing, and neither does that of a stream.
    """
    fits = JSON_LINES.matches(path.name) or path.suffix in ("", *others) or is_stream(path)
    if not fits and not path.is_dir():
        packed = " ".join(f".jsonl{suffix}" for suffix in JSON_LINES.compressions)
        raise MegastyleError(
            f"{path} ends in {path.suffix}, but records are written as JSON lines",
            hint=f"give {path.with_suffix('.jsonl')} (or {packed})",
        )


def check_folder_name(output: str, *, or_image: bool = False) -> None:
    """Raises MegastyleError if a folder would be made under the name of a file.

    That is one with the suffix of a format, or any suffix if it may be an image, too (`or_image`);
    not a folder that exists, nor a name that ends in a slash.
    """
    path = Path(output)
    says_file = path.suffix.lower() in FILE_SUFFIXES or (path.suffix and or_image)
    if says_file and not output.endswith("/") and not path.is_dir():
        raise MegastyleError(
            f"{output} ends in {path.suffix}, a format that is not written here",
            hint=f"give a folder, such as {path.with_suffix('')}/"
            + f", or an image, such as {path.with_suffix('.png')}" * or_image,
        )


def _folder(path: Path, errors: Path | None) -> OutputPaths:
    return OutputPaths(
        final=path / LISTING,
        errors=errors or path / "errors.jsonl",
        run=path / "run.json",
        base=path,
    )


def _file(path: Path, errors: Path | None) -> OutputPaths:
    if path.is_dir():
        raise MegastyleError(f"{path} is a folder", hint="give a file name such as out.jsonl")
    packed = path.suffix in JSON_LINES.compressions
    stem = str(path.with_suffix("") if packed else path)
    stem = stem.removesuffix(".jsonl").removesuffix(".json")
    return OutputPaths(
        final=path,
        errors=errors or Path(f"{stem}.errors.jsonl"),
        run=Path(f"{stem}.run.json"),
        base=path.parent,
    )
