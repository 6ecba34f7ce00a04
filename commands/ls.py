"""List the records of inputs without opening images.

Examples:

  megastyle ls imgs/ -o listing.jsonl
  megastyle caption listing.jsonl --shard auto --resume -o captions/
  megastyle ls photos/ shards/*.tar | jq -r .file_name

List a large folder once, and let all tasks of an array read the listing.
"""

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.runner.options import (
    InputOptions,
    OutputOptions,
    PathListOptions,
    ReplaceOptions,
    ReportOptions,
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    stdin: PathListOptions,
    output: OutputOptions,
    existing: ReplaceOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source

    names = inputs_or_stdin(inputs.inputs, context)
    source = Source(inputs=names, stdin=stdin)
    run = Run("ls", {}, __version__)
    job = CollectJob(run, source, output=output, existing=existing, report=report)
    if report.dry_run:
        return job.show_plan()
    with job:
        job.write(job.as_found())
    return job.exit_code
