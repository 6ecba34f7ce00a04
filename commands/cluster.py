"""Group records by style; draw a balanced sample.

Examples:

  megastyle cluster styles.jsonl -o clusters.jsonl --page clusters.html
  megastyle cluster styles.jsonl --sample 1000 -o balanced.jsonl
  megastyle caption imgs/ | megastyle dedup | megastyle cluster --levels 50,10 | head
  megastyle cluster pool.jsonl --levels paper --sample 170000 --vectors pool.npy -o styles.jsonl

Hierarchical k-means over text embeddings, bottom up: `cluster` is the finest level, `cluster_2` the
next. --sample N takes as evenly from the clusters of every level as their sizes allow (balanced
sampling of Vo et al. 2024, as in MegaStyle), so that common styles do not drown rare ones; what it
covers is printed beside a random sample of the same size. Levels by name: paper (50000,10000,
5000,1000) and plusplus (100000,5000,500); they shrink, with a notice, if there are fewer records.
--resample flattens dense regions further, as in Vo et al.; the paper does not say how often.

A GPU compares every vector with every centroid, in TF32 and then float32. Its clusters are not
those of a CPU, which does not meet all; `_megastyle.cluster.arithmetic` names it then.

Vectors stay on disk: --vectors keeps them, and --vectors-from takes them from a .npy file, of which
each record's `row` names its row. With --engine ray those not kept lie beside the output meanwhile,
which must be where all machines see it.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends

if TYPE_CHECKING:
    from megastyle_cli.core.record import Failure, Record
    from megastyle_cli.io.spool import Spool
    from megastyle_cli.runner.progress import Stats


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    on: Annotated[str, typer.Option(metavar="KEY", help="The text to group by.")] = "style",
    levels: Annotated[
        str,
        typer.Option(
            metavar="N,N,...",
            help="Clusters a level, finest first; auto: by size; or paper, plusplus.",
        ),
    ] = "auto",
    sample: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Pass on a balanced choice.", show_default=False),
    ] = None,
    members: Annotated[
        Literal["random", "nearest"],
        typer.Option(metavar="random|nearest", help="Which of a finest cluster --sample takes."),
    ] = "random",
    resample: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Cluster the points nearest each centroid again, N times."
        ),
    ] = 0,
    vectors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy", show_default=False, help="Keep the vectors; adds `row` to records."
        ),
    ] = None,
    vectors_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy", show_default=False, help="Take the vectors; `row` says which."
        ),
    ] = None,
    xy: Annotated[
        bool, typer.Option("--xy", help="Add `x` and `y`: a map on which clusters nest.")
    ] = False,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    overwrite: options.Overwrite = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    engine: options.Engine = "local",
    workers: options.Workers = None,
    cache: options.Cache = None,
    backend: options.Backend = "builtin",
    model: options.Model = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Where vectors are compared and --model runs: cpu, cuda, cuda:N; default: a GPU"
            " to compare if there is one.",
        ),
    ] = None,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.cluster.cluster import (
        StyleIdentities,
        check_levels,
        check_row,
        cluster_vectors,
        embed_texts,
        select_rows,
    )
    from megastyle_cli.core.record import Run, check_text
    from megastyle_cli.io.npy import MappedVectors, VectorWriter, check_vector_options
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.callbacks import Flow, refuse_side_outputs, run_barrier

    check_views(sheet, page)
    check_vector_options(vectors, vectors_from)
    check_levels(levels)
    given = MappedVectors(vectors_from) if vectors_from else None
    sources = options.inputs_or_stdin(inputs, context)
    open_engine = backends.open_engine(engine, workers, sources)
    backends.refuse_device(device, engine)
    backend = backends.embedder(backend, model)
    told = {
        "on": on,
        "levels": levels,
        "sample": sample,
        "members": members,
        "resample": resample,
        "vectors": given.fingerprint if given else None,
        "xy": xy,
        "seed": seed,
        "backend": backend,
        "model": model,
    }
    run = Run("cluster", told, __version__)

    def work(spool: "Spool", tally: "Stats") -> "Iterator[Record | Failure]":
        identities = StyleIdentities()
        assigner = backends.open_assigner(device, engine)
        facts = {"arithmetic": assigner.name} if assigner else {}
        tally.measured |= facts
        # workers read it on their nodes, as they read the inputs
        shared = Path() if output == "-" else Path(output).parent
        scratch = shared if engine == "ray" else None
        with (
            VectorWriter(vectors, scratch) as whole,
            open_engine() as opened,
            ExitStack() as closing,
        ):
            if given:
                points: Any = select_rows(given, identities.collect(spool.read()))
            else:
                embed = backends.kept_embedder(backend, model, cache, closing, device)
                texts = (record[on] for record in identities.collect(spool.read()))
                points = whole.write(len(spool), embed_texts(texts, embed))
            clustering = cluster_vectors(
                points,
                levels=levels,
                sample=sample,
                seed=seed,
                engine=opened,
                assigner=assigner,
                members=members,
                resamplings=resample,
                identities=identities.numbers(),
                xy=xy,
            )
            tally.remarks += clustering.remarks
            tally.measured |= clustering.stats()
            yield from clustering.failures(spool)
            with_row = vectors is not None
            yield from clustering.sample_records(spool, with_row=with_row, run=run.key, **facts)
            whole.commit()

    flow = Flow(
        inputs=sources,
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
    refuse_side_outputs(flow, vectors)
    check = partial(check_row, count=given.shape[0]) if given else partial(check_text, key=on)
    done = run_barrier(run, flow, work, check=check)
    write_views(done.records, sheet, page, title="Styles by cluster")
    return done.code
