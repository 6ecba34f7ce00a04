"""`eval --make-preference` writes a page for voters, `eval --preference` counts their votes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from megastyle_cli.core.atomic_file import check_new
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.record import annotate
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.io.output_paths import check_folder_name
from megastyle_cli.preference.comparisons import draw_comparisons
from megastyle_cli.preference.vote_ranking import rank_systems
from megastyle_cli.preference.vote_table import vote_table
from megastyle_cli.preference.votes import read_votes
from megastyle_cli.preference.voting_folder import PAGE, read_key, write_page
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.plan import Plan
from megastyle_cli.runner.progress import say
from megastyle_cli.runner.side_input import read_side_input

TITLE = "Which picture is closer?"


def make_page(
    folder: Path,
    systems: Mapping[str, str],
    count: int,
    seed: int,
    *,
    existing: ResumeOptions,
    report: ReportOptions,
) -> int:
    """Writes the page of `systems`, names and inputs of their records, to `folder`; the exit code.

    Raises MegastyleError if there is a page and it is not to be replaced.
    """
    check_folder_name(str(folder))
    encoders = [name for name, source in systems.items() if not source]
    if encoders:
        raise MegastyleError(
            f"--system {encoders[0]} is a style encoder, which makes no images",
            hint="give a folder or records of images: --system NAME=PATH",
        )
    if not existing.overwrite:
        check_new(folder / PAGE)
    records = {name: list(read_side_input([source])) for name, source in systems.items()}
    drawn = draw_comparisons(records, count, seed)
    votes = sum(each.kind == "vote" for each in drawn)
    kinds = f"{votes} comparisons, {len(drawn) - votes} repetitions and controls"
    if report.dry_run:
        plan = Plan("eval")
        plan.add("systems", ", ".join(f"{name} ({len(records[name]):,})" for name in records))
        plan.add("page", kinds)
        plan.add("output", str(folder / PAGE))
        plan.show()
        return DONE
    key = write_page(folder, drawn, list(systems), title=TITLE)
    if not report.quiet:
        say(f"eval: {kinds}; {folder / PAGE} is for the voters, key.json is not")
        say(
            f"eval: count their files: megastyle eval votes-{key.page}-*.json --preference {folder}"
        )
    return DONE


def count_votes(
    names: Sequence[str],
    folder: Path,
    seed: int,
    *,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> int:
    """Writes the ranking of the systems by the files of votes `names`; the exit code.

    Raises MegastyleError for a file that holds no votes for this page.
    """
    key = read_key(folder)
    if "-" in names:
        raise MegastyleError(
            "votes are read from files", hint=f"megastyle eval votes-{key.page}-*.json"
        )
    votes = read_votes([Path(name) for name in names], key, str(folder))
    settings = {"preference": key.page, "seed": seed, "votes": len(votes)}
    job = summary_job(
        settings,
        (),
        vote_table,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        summary = rank_systems(votes, key, seed)
        if not summary["questions"]:
            raise MegastyleError(
                "there is no vote of a reliable voter", hint="collect more files of votes"
            )
        if summary["left_out"]:
            job.stats.remarks.append(
                f"left out, with less than 80 % of the controls right:"
                f" {', '.join(summary['left_out'])}"
            )
        job.write([annotate(summary, "eval", run=job.run.key)])
    return job.exit_code
