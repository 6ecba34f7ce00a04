"""The job of a measure that writes one summary of all its records."""

from collections.abc import Callable, Sequence

from megastyle_cli import __version__
from megastyle_cli.core.record import Record, Run
from megastyle_cli.io.writers.stream import line_for
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions


def summary_job(
    settings: Record,
    inputs: Sequence[str],
    as_text: Callable[[Record], str],
    *,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> CollectJob:
    """A job over `inputs` whose run is identified by `settings`.

    A terminal is shown the summary by `as_text`, or JSON with `as_json`; all else gets JSON.
    """
    return CollectJob(
        Run("eval", settings, __version__),
        Source(inputs=inputs),
        output=output,
        existing=existing,
        report=report,
        line=line_for(output.output, as_text, as_json=as_json),
        is_summary=True,
    )
