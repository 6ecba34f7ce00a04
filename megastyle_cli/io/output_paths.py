"""The files of an output: its records, its failures, and run.json with the options of the run."""

from dataclasses import dataclass
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stdout, is_stream
from megastyle_cli.core.shard import PART_NAME, Shard
from megastyle_cli.io.formats import JSON_LINES
from megastyle_cli.io.relative_paths import LISTING


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


def output_paths(
    output: str, shard: Shard, *, folder: bool, errors: str | None = None
) -> OutputPaths:
    """The files of the output that the option -o names.

    `folder` is true for commands that make pictures. A sharded output is a directory of parts: of
    folders for these commands, of files for the others. Raises MegastyleError if the name does not
    fit.
    """
    named = Path(errors) if errors else None
    path = Path(output)
    if is_stdout(output) or (not folder and is_stream(path)):
        if shard.count > 1:
            raise MegastyleError(
                "one of several shards cannot write to a stream", hint="give -o DIRECTORY"
            )
        stream = None if is_stdout(output) else path
        return OutputPaths(final=None, stream=stream, errors=named, run=None, base=Path())
    if path.suffix in JSON_LINES.compressions:
        raise MegastyleError(
            f"{path} names a packed file, and outputs are written plain",
            hint=f"give -o {path.with_suffix('')} or pipe into the packer",
        )
    if named == path:
        raise MegastyleError(f"{path} is output and errors file", hint="give two names")
    if shard.count > 1:
        if named:
            raise MegastyleError(
                "shards cannot share --errors", hint="each has one beside its part"
            )
        if path.is_dir():
            _check_shard_count(path, shard)
        path = path / (shard.part_name if folder else f"{shard.part_name}.jsonl")
    return _folder(path, named) if folder else _file(path, named)


def _folder(path: Path, errors: Path | None) -> OutputPaths:
    return OutputPaths(
        final=path / LISTING,
        errors=errors or path / "errors.jsonl",
        run=path / "run.json",
        base=path,
    )


def _file(path: Path, errors: Path | None) -> OutputPaths:
    if path.is_dir():
        raise MegastyleError(f"{path} is a directory", hint="give a file name such as out.jsonl")
    stem = str(path).removesuffix(".jsonl").removesuffix(".json")
    return OutputPaths(
        final=path,
        errors=errors or Path(f"{stem}.errors.jsonl"),
        run=Path(f"{stem}.run.json"),
        base=path.parent,
    )


def _check_shard_count(folder: Path, shard: Shard) -> None:
    for path in folder.iterdir():
        match = PART_NAME.match(path.name)
        if match and int(match[2]) != shard.count:
            raise MegastyleError(
                f"{folder} holds parts of {int(match[2])}, not of {shard.count}",
                hint="use the same count, or another directory",
            )
