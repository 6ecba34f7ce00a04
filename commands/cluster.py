"""Group records by style and draw a balanced sample.

Examples:

  megastyle cluster styles.jsonl -o clusters.jsonl --page clusters.html
  megastyle cluster styles.jsonl --sample 1000 -o balanced.jsonl
  megastyle caption imgs/ | megastyle dedup | megastyle cluster --levels 50,10 | head
  megastyle cluster pool.jsonl --levels paper --sample 170000 --vectors pool.npy -o styles.jsonl

Clusters text embeddings by hierarchical k-means, bottom up: `cluster` is the finest level,
`cluster_2` the next. --sample draws as evenly from the clusters of every level as their sizes
allow, so that common styles do not drown rare ones.
"""

from functools import partial
from typing import Any

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.cli.resolve_backend import (
    check_device,
    check_engine,
    check_text_models,
    open_assigner,
    open_embedder,
)
from megastyle_cli.cluster.options import ClusterDeviceOptions, ClusterOptions
from megastyle_cli.core.option import result_options
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.models.options import BackendOptions, ModelOptions
from megastyle_cli.models.registry import embedder_backend
from megastyle_cli.runner.options import (
    CacheOptions,
    EngineOptions,
    InputOptions,
    OutputOptions,
    ReplaceOptions,
    ReportOptions,
    SeedOptions,
    ViewOptions,
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    output: OutputOptions,
    options: ClusterOptions,
    existing: ReplaceOptions,
    drawing: SeedOptions,
    compute: EngineOptions,
    caching: CacheOptions,
    which: BackendOptions,
    named: ModelOptions,
    hardware: ClusterDeviceOptions,
    views: ViewOptions,
    report: ReportOptions,
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
    from megastyle_cli.compute.engine import load_engine
    from megastyle_cli.core.atomic_file import AtomicFile
    from megastyle_cli.core.record import Run, check_text
    from megastyle_cli.io.npy import MappedVectors, VectorWriter, check_vector_options
    from megastyle_cli.io.writers.stream import Stream
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source

    check_views(views.sheet, views.page)
    check_vector_options(options.vectors, options.vectors_from)
    check_levels(options.levels)
    given = MappedVectors(options.vectors_from) if options.vectors_from else None
    sources = inputs_or_stdin(inputs.inputs, context)
    check_engine(compute.engine, sources)
    check_device(hardware.device, compute.engine)
    backend = embedder_backend(which.backend, named.model)
    check_text_models([] if given else [(backend, named.model)])
    recorded = {
        **result_options(options, drawing),
        "vectors": given.fingerprint if given else None,
        "backend": backend,
        "model": named.model,
        **recorded_weights("model", named.model),
    }
    run = Run("cluster", recorded, __version__)
    job = CollectJob(
        run,
        Source(inputs=sources),
        output=output,
        existing=existing,
        report=report,
        keeps_records=views.are_wanted,
    )
    (kept,) = job.side_outputs(options.vectors)
    if report.dry_run:
        return job.show_plan()
    # workers of a cluster read the vectors on their nodes, as they read the inputs
    scratch = job.paths.base if compute.engine == "ray" else None
    in_place = kept.fill_in_place() if isinstance(kept, AtomicFile) else None
    with job, VectorWriter(in_place, scratch) as writer:
        records = job.collect(
            partial(check_row, count=given.shape[0])
            if given
            else partial(check_text, key=options.on)
        )
        assigner = open_assigner(hardware.device, compute.engine)
        arithmetic = {"arithmetic": assigner.name} if assigner else {}
        identities = StyleIdentities()
        with load_engine(compute.engine, compute.workers) as engine:
            vectors: Any
            if given:
                vectors = select_rows(given, identities.collect(records.read()))
            else:
                texts = (record[options.on] for record in identities.collect(records.read()))
                with open_embedder(
                    backend, named.model, caching.cache, device=hardware.device
                ) as embed:
                    vectors = writer.write(len(records), embed_texts(texts, embed))
            clustering = cluster_vectors(
                vectors,
                levels=options.levels,
                sample=options.sample,
                seed=drawing.seed,
                engine=engine,
                assigner=assigner,
                members=options.members,
                resamplings=options.resample,
                identities=identities.numbers(),
                xy=options.xy,
            )
        job.stats.remarks += clustering.remarks
        job.stats.measured |= arithmetic | clustering.stats()
        facts = {"run": run.key, **arithmetic}
        job.write(clustering.failures(records))
        job.write(clustering.sample_records(records, with_row=options.vectors is not None, **facts))
        if isinstance(kept, Stream):
            writer.copy_to(kept)
        write_views(
            job.records(), views.sheet, views.page, title="Styles by cluster", as_browser=True
        )
    return job.exit_code
