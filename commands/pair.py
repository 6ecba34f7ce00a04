"""Combine styles with contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl -o pairs.jsonl
  megastyle cluster styles.jsonl --sample 100 | megastyle pair --contents photos/ --per-style 4
  megastyle pair styles.jsonl --contents photos/ --seed 1 | megastyle synth -o synth/

Each style is paired with --per-style different contents, drawn uniformly from all of them.
"""

from typing import Any

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
    from megastyle_cli.compute.jit import choose_by_size, is_plain
    from megastyle_cli.core.record import Run
    from megastyle_cli.core.shard import Shard
    from megastyle_cli.io.output_paths import output_paths
    from megastyle_cli.io.record_names import LISTING
    from megastyle_cli.io.temporary_files import Spool
    from megastyle_cli.pair.draws import content_usage, describe_draws, draw_all
    from megastyle_cli.pair.halves import STYLE_KEYS, check_style
    from megastyle_cli.pair.lines import pair_lines
    from megastyle_cli.pair.pair import pair_all
    from megastyle_cli.pair.parents import Parents, fingerprint, read_contents
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source

    if not pairs.contents:
        raise MegastyleError("pair needs --contents", hint="give --contents contents.jsonl")
    paths = output_paths(output.output, Shard(), folder=False, errors=output.errors)
    with Spool() as spool:
        contents, halves, failures = read_contents(pairs.contents, spool, paths.rename)
        if not contents:
            what = failures[0].message if failures else "no contents"
            raise MegastyleError(f"{', '.join(pairs.contents)}: {what}", hint="check --contents")
        recorded = result_options(pairs, drawing)
        recorded |= {"contents": fingerprint(halves.identities())}
        run = Run("pair", recorded, __version__)
        source = Source(inputs=inputs_or_stdin(inputs.inputs, context))
        job = CollectJob(run, source, output=output, existing=existing, report=report)
        if report.dry_run:
            return job.show_plan(contents=f"{', '.join(pairs.contents)}: {len(contents):,}")
        with job:
            job.write(failures)
            given = job.collect_objects(STYLE_KEYS, check_style)
            styles, num_contents = Parents(job.spool, given), len(contents)
            names, each = styles.own_ids(given), pairs.per_style
            draws = draw_all(names, num_contents, each, drawing.seed, pairs.max_uses)
            del given, names  # memory
            job.stats.remarks += describe_draws(draws, num_contents, pairs.per_style)
            job.stats.measured["coverage"] = vars(content_usage(draws, num_contents))
            made: dict[str, Any] = {"ids": pairs.ids, "metadata": {"run": run.key}}
            choose_by_size(draws.size)
            if is_plain() or (paths.final and paths.final.name == LISTING):
                job.write(pair_all(styles, contents, draws, **made))
            else:
                job.write(pair_lines(styles, halves, draws, rename=paths.rename, **made))
    return job.exit_code
