"""Options that commands share, in groups: what is read, where results go, how a run reports."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from megastyle_cli.core.limits import DEFAULT_MAX_ITEM_SIZE
from megastyle_cli.core.option import option
from megastyle_cli.io.formats import INPUTS_HELP

# Declarations of options that several groups have.
RESUME = {
    "help": "Continue or extend an existing output; failed records are retried.",
    "is_common": True,
}
OVERWRITE = {"help": "Replace an existing output.", "is_common": True}
FORCE = {"help": "Resume even if options that change results differ."}
LIMIT = {
    "metavar": "N",
    "min": 0,
    "show_default": False,
    "help": "Process only the first N input records.",
    "help_in": {"retrieve": "Search for only the first N queries."},
    "heading": "Input",
    "is_common": True,
}
MAX_ERRORS = {"metavar": "N|N%", "help": "Failed records tolerated before exit code 3."}
BATCH_SIZE = {
    "metavar": "N",
    "min": 1,
    "help": "Records processed at once, at most; affects speed and memory, not results.",
}


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What is read; nothing named means standard input."""

    HEADING: ClassVar[str] = "Input"

    inputs: list[str] | None = option(
        None,
        is_argument=True,
        metavar="INPUT...",
        help=INPUTS_HELP,
        show_default=False,
        is_common=True,
        file="input",
    )
    max_item_size: str = option(  # applied by app.py, for the whole process
        DEFAULT_MAX_ITEM_SIZE,
        metavar="SIZE",
        help="Memory limit for one line, archive member or decoded image.",
    )


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where records go, and how many of them may fail."""

    HEADING: ClassVar[str] = "Output"

    output: str = option(
        "-",
        "-o",
        "--output",
        metavar="PATH",
        help="JSON lines file, or - for stdout; with --shard, a folder.",
        help_in={
            "dedup": "File for the records that are kept, or - for stdout.",
            "cluster": "JSON lines file, or - for stdout.",
            "pair": "JSON lines file for the pairs, or - for stdout.",
            "retrieve": "JSON lines file for the results, or - for stdout; with --shard, a folder.",
            "eval": "File for the summary (or the scored records), or - for stdout.",
            "ls": "JSON lines file, or - for stdout.",
        },
        is_common=True,
        file="output",
    )
    errors: str | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="File for failed records, itself a valid input (default: beside the output).",
        file="output",
    )
    max_errors: str = option("0", heading="Running", **MAX_ERRORS)


@dataclass(frozen=True, kw_only=True)
class ImageOutputOptions(OutputOptions):
    """The output of a command that makes images: a folder."""

    output: str | None = option(  # type: ignore[assignment]
        None,
        "-o",
        "--output",
        metavar="DIR",
        help="Folder for the images and their metadata.jsonl.",
        show_default=False,
        is_common=True,
        is_required=True,
        file="output folder",
    )


@dataclass(frozen=True, kw_only=True)
class JsonOptions:
    """How results are printed on a terminal."""

    HEADING: ClassVar[str] = "Output"

    as_json: bool = option(
        False, "--json", help="Print JSON on a terminal, too, instead of a table.", is_common=True
    )


@dataclass(frozen=True, kw_only=True)
class ReplaceOptions:
    """For commands that write their output whole: whether to replace one, and how much is read."""

    HEADING: ClassVar[str] = "Running"

    overwrite: bool = option(False, "--overwrite", **OVERWRITE)
    limit: int | None = option(None, **LIMIT)


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """For commands that write record by record: what to do with an output that is there."""

    HEADING: ClassVar[str] = "Running"

    resume: bool = option(False, "--resume", **RESUME)
    overwrite: bool = option(False, "--overwrite", **OVERWRITE)
    force: bool = option(False, "--force", **FORCE)
    shard: str | None = option(
        None,
        metavar="I/N",
        show_default=False,
        help="Process part I of N, with 0 <= I < N; auto or auto/N: the part of this Slurm task.",
    )
    shard_offset: int = option(
        0,
        metavar="K",
        help="With --shard auto/N: add K to the number of the Slurm task (large arrays).",
    )
    limit: int | None = option(None, **LIMIT)


@dataclass(frozen=True, kw_only=True)
class PathListOptions:
    """Standard input as a list of file names instead of JSON lines."""

    HEADING: ClassVar[str] = "Input"

    paths: bool = option(False, "--paths", help="Read file names from stdin, one per line.")
    null: bool = option(False, "-0", "--null", help="Read file names from stdin, NUL-separated.")


@dataclass(frozen=True, kw_only=True)
class SeedOptions:
    """The seed of everything that is drawn."""

    HEADING: ClassVar[str] = "Method"

    seed: int = option(
        0,
        metavar="N",
        help="Random seed.",
        help_in={
            "cluster": "Random seed for k-means and --sample.",
            "pair": "Random seed for drawing contents.",
            "synth": "Random seed; each image derives its own from it and its id.",
            "transfer": "Random seed; each image derives its own from it and its id.",
            "train-encoder": "Random seed for initialization, sampling and augmentation.",
            "train-flux": "Random seed for initialization, pairs, noise and augmentation.",
            "eval": "Random seed for confidence intervals and --make-benchmark.",
        },
        is_common=True,
        changes_results="yes",
    )


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How many records are worked on at once."""

    HEADING: ClassVar[str] = "Running"

    batch_size: int = option(32, **BATCH_SIZE)


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """Pictures and pages of the results, for people."""

    HEADING: ClassVar[str] = "Output"

    sheet: Path | None = option(
        None,
        metavar="FILE.png",
        show_default=False,
        help="Also write a labelled contact sheet.",
        file="output",
    )
    page: Path | None = option(
        None,
        metavar="FILE.html",
        show_default=False,
        help="Also write a single-file HTML page of the results.",
        help_in={
            "cluster": "Also write a single-file HTML page of the clusters.",
            "transfer": "Also write a single-file HTML gallery of references and results.",
            "eval": "Also write a single-file HTML report with plots.",
        },
        is_common=True,
        file="output",
    )

    @property
    def are_wanted(self) -> bool:
        """Whether there is anything to draw."""
        return self.sheet is not None or self.page is not None


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """How a run reports."""

    HEADING: ClassVar[str] = "Running"

    stats: Path | None = option(
        None,
        metavar="FILE",
        show_default=False,
        help="Write counts, rate, time left and failures by kind as JSON, every 30 s.",
        heading="Output",
        file="output",
    )
    dry_run: bool = option(
        False,
        "-n",
        "--dry-run",
        help="Show the plan; load no model, write nothing.",
        is_common=True,
    )
    quiet: bool = option(False, "-q", "--quiet", help="Print only errors.")
    verbose: int = option(
        0,
        "-v",
        "--verbose",
        is_counter=True,
        show_default=False,
        metavar="",
        help="Print more; -vv adds debug messages and tracebacks.",
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Where block work runs."""

    HEADING: ClassVar[str] = "Running"

    engine: Literal["local", "ray"] = option(
        "local",
        metavar="local|ray",
        help="Run on this machine's cores or on a Ray cluster (RAY_ADDRESS).",
    )
    workers: int | None = option(
        None,
        metavar="N",
        min=1,
        show_default=False,
        help="Number of cores to use (default: all); affects speed, not results.",
    )


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Where embeddings are kept between runs."""

    HEADING: ClassVar[str] = "Running"

    cache: Path | None = option(
        None,
        metavar="DIR",
        show_default=False,
        help="Cache text embeddings in DIR; dedup and cluster can share it.",
        help_in={
            "eval": "With --benchmark: cache vectors in DIR, so that a --system is encoded once;"
            " with --base-url: answers, so that a run can be repeated."
        },
        file="cache",
    )
