"""Group records by style; draw a balanced sample.

Examples:

  megastyle cluster styles.jsonl -o clusters.jsonl --page clusters.html
  megastyle cluster styles.jsonl --sample 1000 -o balanced.jsonl
  megastyle caption imgs/ | megastyle dedup | megastyle cluster --levels 50,10 | head

Hierarchical k-means over text embeddings, bottom up: `cluster` is the finest level, `cluster_2` the
next. --sample N takes as evenly from the clusters of every level as their sizes allow (balanced
sampling of Vo et al. 2024, as in MegaStyle), so that common styles do not drown rare ones. The
paper's levels are 50000,10000,5000,1000; levels shrink, with a notice, if there are fewer records.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli import options

if TYPE_CHECKING:
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.stream.spool import Spool


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    on: Annotated[str, typer.Option(metavar="KEY", help="The text to group by.")] = "style",
    levels: Annotated[
        str, typer.Option(metavar="N,N,...", help="Clusters a level, finest first; auto: by size.")
    ] = "auto",
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Pass on a balanced choice.", show_default=False),
    ] = None,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    overwrite: options.Overwrite = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    backend: options.Backend = "builtin",
    model: options.Model = None,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run, check_text
    from megastyle_cli.steps.grouping import group, labelled
    from megastyle_cli.stream.job import Flow, run_barrier
    from megastyle_cli.view.show import check_views, write_views

    check_views(sheet, page)
    backend = options.embedder(backend, model)
    told = {
        "on": on,
        "levels": levels,
        "sample": sample,
        "seed": seed,
        "backend": backend,
        "model": model,
    }
    run = Run("cluster", told, __version__)

    def work(spool: "Spool", tally: "Tally") -> Iterator[dict[str, Any]]:
        embed = options.load_embedder(backend, model).embed
        vectors = embed([record[on] for record in spool.read()])
        grouping = group(vectors, levels=levels, sample=sample, seed=seed)
        tally.remarks += grouping.remarks
        tally.measured["clusters"] = grouping.sizes
        for row, record in zip(grouping.rows, spool.read(grouping.rows), strict=True):
            yield labelled(record, grouping, row, run=run.key)

    flow = Flow(
        inputs=options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        overwrite=overwrite,
        limit=limit,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    done = run_barrier(run, flow, work, check=partial(check_text, key=on))
    write_views(done.records, sheet, page, title="Styles by cluster")
    return done.code
