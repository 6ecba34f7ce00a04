"""`eval --make-benchmark`: reads a data set and writes a benchmark into its folder."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from megastyle_cli import __version__
from megastyle_cli.benchmark.folder import check_folder, seal, write_settings
from megastyle_cli.benchmark.options import BenchmarkOptions
from megastyle_cli.benchmark.pictures import (
    ATTRIBUTION,
    NOT_STATED,
    attribution,
    copy_pictures,
    drop_others,
)
from megastyle_cli.benchmark.selection import (
    RECIPE,
    Selection,
    keep_where,
    parse_filters,
    select_records,
)
from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, Run
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions


def selection_of(
    options: BenchmarkOptions, label: str, content_label: str, seed: int
) -> tuple[Selection, dict[str, list[str]]]:
    """What the options ask for, and the filters. Raises MegastyleError if they do not fit."""
    if options.one_per_group and not options.group:
        raise MegastyleError("--one-per-group needs groups", hint="add --group KEY")
    split = [f"{options.split_key}=heldout"] if options.split_key else []
    selection = Selection(
        styles=options.styles,
        per_style=options.per_style,
        seed=seed,
        label=label,
        content_label=content_label,
        queries=options.queries,
        group=options.group,
        one_per_group=options.one_per_group,
        shared_contents=options.shared_contents,
    )
    return selection, parse_filters([*(options.where or []), *split])


def make_benchmark(
    names: Sequence[str],
    folder: Path,
    selection: Selection,
    where: dict[str, list[str]],
    *,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
) -> int:
    """Writes a benchmark of the records of `names` into `folder`; the exit code."""
    chosen: Record = {"recipe": RECIPE, **asdict(selection), "where": where}
    run = Run("eval", {"make_benchmark": True, **chosen}, __version__)
    check_folder(folder)
    job = CollectJob(
        run,
        Source(inputs=names),
        output=replace(output, output=str(folder / "metadata.jsonl")),
        existing=existing,
        report=report,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        records = job.collect().read()
        selected = select_records(keep_where(records, where), selection)
        rows = copy_pictures(selected, folder, run.key)
        settings = seal(rows, selection, where)
        counts = settings.contents
        unlicensed = settings.licenses.get(NOT_STATED, 0)
        job.stats.remarks += [
            f"{settings.queries} queries, {settings.gallery} in the gallery; {counts['distinct']}"
            f" contents, {counts['in_all_styles']} of them in all styles",
            f"hash {settings.hash}; run it: megastyle eval --benchmark {folder}",
        ]
        if unlicensed:
            job.stats.remarks.append(
                f"{unlicensed:,} of {len(rows):,} pictures state no license: check before"
                " you publish them"
            )
        job.write(rows)
        atomic_write(folder / ATTRIBUTION, attribution(rows, settings.label))
        write_settings(folder, settings)
    drop_others(rows, folder)
    return job.exit_code
