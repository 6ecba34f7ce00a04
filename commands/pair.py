"""Combine styles with contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl -o pairs.jsonl
  megastyle cluster styles.jsonl --sample 100 | megastyle pair --contents photos/ --per-style 4
  megastyle pair styles.jsonl --contents photos/ --seed 1 | megastyle synth -o synth/

Each style is paired with --per-style different contents, drawn uniformly from all of them.
"""

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import result_options
from megastyle_cli.pair.options import PairOptions
from megastyle_cli.runner.options import (
    InputOptions,
    OutputOptions,
    ReplaceOptions,
    ReportOptions,
    SeedOptions,
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    pairs: PairOptions,
    output: OutputOptions,
    existing: ReplaceOptions,
    drawing: SeedOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.pair.pair import (
        check_content,
        check_style,
        content_usage,
        describe_draws,
        distinct_ids,
        draw_all,
        fingerprint,
        pair_all,
        with_own_ids,
    )
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.side_input import PackedRecords, pack_side_input

    if not pairs.contents:
        raise MegastyleError("pair needs --contents", hint="give --contents contents.jsonl")
    given, failures = pack_side_input(pairs.contents, check_content)
    if not given:
        what = failures[0].message if failures else "no contents"
        raise MegastyleError(f"{', '.join(pairs.contents)}: {what}", hint="check --contents")
    own = distinct_ids([r["id"] for r in given], lambda rows: (given[row] for row in rows))
    contents = PackedRecords()
    for record in with_own_ids((given[row] for row in own), own.values()):
        contents.append(record)
    recorded = result_options(pairs, drawing) | {"contents": fingerprint(contents)}
    run = Run("pair", recorded, __version__)
    source = Source(inputs=inputs_or_stdin(inputs.inputs, context))
    job = CollectJob(run, source, output=output, existing=existing, report=report)
    if report.dry_run:
        return job.show_plan(contents=f"{', '.join(pairs.contents)}: {len(contents):,}")
    with job:
        job.write(failures)
        styles = job.collect(check_style)
        ids = distinct_ids([record["id"] for record in styles.read()], styles.read)
        draws = draw_all(
            list(ids.values()),
            len(contents),
            pairs.per_style,
            drawing.seed,
            pairs.max_uses,
        )
        job.stats.remarks += describe_draws(draws, len(contents), pairs.per_style)
        job.stats.measured["coverage"] = vars(content_usage(draws, len(contents)))
        metadata = {"run": run.key}
        own_styles = with_own_ids(styles.read(list(ids)), ids.values())
        job.write(pair_all(own_styles, contents, draws, ids=pairs.ids, metadata=metadata))
    return job.exit_code
