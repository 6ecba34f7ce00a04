"""The options of `eval` that make a benchmark or run one."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """A benchmark to run, or to create."""

    HEADING: ClassVar[str] = "Benchmark"

    benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Run the benchmark in DIR; takes no input.",
        is_common=True,
        show_default=False,
        changes_results="derived",
        file="input",
    )
    system: list[str] | None = option(
        None,
        metavar="[NAME=]SYSTEM",
        help="Encoder, or painter's images, to compare with --benchmark; repeatable. A backend or a"
        " model; or a folder or records with the benchmark's labels.",
        is_common=True,
        show_default=False,
        changes_results="derived",
    )
    tier: list[str] | None = option(
        None,
        metavar="NAME",
        help="Part of the benchmark, repeatable: plain, other-contents, same-content, within-group,"
        " near, grey, color-matched (default: plain).",
        show_default=False,
        changes_results="derived",
    )
    table: Path | None = option(
        None,
        metavar="FILE.md",
        help="Also write the table of systems as Markdown.",
        heading="Output",
        show_default=False,
        file="output",
    )
    make_benchmark: Path | None = option(
        None,
        metavar="DIR",
        help="Create a benchmark from the input: a folder with its pictures, sealed by a hash.",
        show_default=False,
        changes_results="derived",
        file="output folder",
    )
    styles: int = option(
        100,
        "--styles",
        metavar="N",
        min=2,
        help="Number of styles for --make-benchmark.",
        changes_results="derived",
    )
    per_style: int = option(
        8,
        "--per-style",
        metavar="N",
        min=1,
        help="Number of contents per style for --make-benchmark.",
        changes_results="derived",
    )
    queries: int | None = option(
        None,
        "--queries",
        metavar="N",
        min=1,
        help="Queries per style for --make-benchmark (default: a quarter of --per-style).",
        show_default=False,
        changes_results="derived",
    )
    group: str | None = option(
        None,
        metavar="KEY",
        help="Record key of the design that several styles belong to, for --make-benchmark:"
        " intervals resample designs.",
        show_default=False,
        changes_results="derived",
    )
    one_per_group: bool = option(
        False,
        "--one-per-group",
        help="With --group: draw one style of each design.",
        changes_results="derived",
    )
    shared_contents: bool = option(
        False,
        "--shared-contents",
        help="Draw the same contents for all styles for --make-benchmark.",
        changes_results="derived",
    )
    where: list[str] | None = option(
        None,
        metavar="KEY=VALUE",
        help="Use only records with VALUE under KEY for --make-benchmark; repeat for other values"
        " or keys.",
        show_default=False,
        changes_results="derived",
    )
    split_key: str | None = option(
        None,
        metavar="KEY",
        help="Short for --where KEY=heldout.",
        show_default=False,
        changes_results="derived",
    )

    @property
    def compares_systems(self) -> bool:
        """Whether a table of systems is asked for, rather than the summary of one encoder."""
        return bool(self.system or self.tier or self.table)
