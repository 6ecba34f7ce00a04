"""Options that commands share, in groups: what is read, where results go, how a run reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megastyle_cli.core.limits import DEFAULT_MAX_ITEM_SIZE
from megastyle_cli.core.option import option
from megastyle_cli.io.formats import INPUTS_HELP


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is read; nothing named means standard input."""

    inputs: list[str] | None = option(
        None,
        is_argument=True,
        metavar="[INPUTS]...",
        help=INPUTS_HELP,
        show_default=False,
        file="input",
    )
    max_item_size: str = option(  # applied by app.py, for the whole process
        DEFAULT_MAX_ITEM_SIZE,
        metavar="SIZE",
        help="Largest line, archive member or decoded picture, in memory.",
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where records go, and how many of them may fail."""

    output: str = option(
        "-",
        "-o",
        "--output",
        metavar="PATH",
        help="File, directory or - for stdout.",
        file="output",
    )
    errors: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Where failed records go; default: beside the output.",
        file="output",
    )
    max_errors: str = option("0", metavar="N|N%", help="Failures tolerated before exit code 3.")


@dataclass(frozen=True, kw_only=True)
class ImageOutputOptions(OutputOptions):
    """The output of a command that makes images: a folder."""

    output: str | None = option(  # type: ignore[assignment]
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Directory for pictures and metadata.jsonl.",
        show_default=False,
        file="output folder",
    )


@dataclass(frozen=True, kw_only=True)
class ReplaceOptions:
    """For commands that write their output whole: whether to replace one, and how much is read."""

    overwrite: bool = option(False, "--overwrite", help="Replace an existing output.")
    limit: int | None = option(
        None, metavar="N", min=0, show_default=False, help="Only the first N input records."
    )


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """For commands that write record by record: what to do with an output that is there."""

    resume: bool = option(
        False, "--resume", help="Go on with an unfinished output, or extend a finished one."
    )
    overwrite: bool = option(False, "--overwrite", help="Replace an existing output.")
    force: bool = option(False, "--force", help="Resume although the options have changed.")
    shard: str | None = option(
        None,
        metavar="I/N",
        show_default=False,
        help="This process's share of the records, 0 <= I < N; or auto (Slurm array).",
    )
    limit: int | None = option(
        None, metavar="N", min=0, show_default=False, help="Only the first N input records."
    )


@dataclass(frozen=True, kw_only=True)
class PathListOptions:
    """Standard input as a list of file names instead of JSON lines."""

    paths: bool = option(False, "--paths", help="stdin holds one file name a line.")
    null: bool = option(False, "-0", "--null", help="stdin holds file names separated by NUL.")

    @property
    def separator(self) -> str | None:
        """What separates the names; None if standard input holds JSON lines."""
        return "\0" if self.null else "\n" if self.paths else None


@dataclass(frozen=True, kw_only=True)
class SeedOptions:
    """The seed of everything that is drawn."""

    seed: int = option(0, metavar="N", help="For everything drawn.", changes_results="yes")


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How many records are worked on at once."""

    batch_size: int = option(
        32, metavar="N", min=1, help="Records worked on at once; changes speed, never results."
    )


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Pictures and pages of the results, for people."""

    sheet: Path | None = option(
        None,
        metavar="FILE.png",
        show_default=False,
        help="Draw a labelled contact sheet.",
        file="output",
    )
    page: Path | None = option(
        None,
        metavar="FILE.html",
        show_default=False,
        help="Write a one-file page to look through, offline.",
        file="output",
    )

    @property
    def are_wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.sheet is not None or self.page is not None


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How a run reports."""

    stats: Path | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Write counts, seconds and error kinds as JSON.",
        file="output",
    )
    dry_run: bool = option(
        False, "-n", "--dry-run", help="Say what would be done; load no model, write nothing."
    )
    quiet: bool = option(False, "-q", "--quiet", help="Errors only.")
    verbose: int = option(
        0,
        "-v",
        "--verbose",
        is_counter=True,
        show_default=False,
        metavar="",
        help="More words; twice for debugging.",
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where block work runs."""

    engine: Literal["local", "ray"] = option(
        "local",
        metavar="local|ray",
        help="Where the work runs: on this machine's cores, or on those of a Ray cluster"
        " (RAY_ADDRESS).",
    )
    workers: int | None = option(
        None,
        metavar="N",
        min=1,
        show_default=False,
        help="Cores to work on, default: all; changes speed, never results.",
    )


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Where text embeddings are kept between runs."""

    cache: Path | None = option(
        None,
        metavar="DIR",
        show_default=False,
        help="Keep text embeddings here; dedup and cluster share them.",
        file="cache",
    )
