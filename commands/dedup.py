"""Remove exact, near and semantic duplicates.

Examples:

  megastyle dedup captions.jsonl -o styles.jsonl
  megastyle dedup captions.jsonl --keep longest --rejected dropped.jsonl -o styles.jsonl
  megastyle dedup captions.jsonl --on content -o contents.jsonl
  megastyle dedup captions.jsonl --no-semantic --report groups.json -o styles.jsonl

Three stages run in this order: exact (equal texts), near (shared n-grams) and semantic (similar
text embeddings). Of each group of duplicates the first record is kept, unless --keep says
otherwise.
"""

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import typer

from megastyle_cli.cli.parameters import inputs_or_stdin
from megastyle_cli.cli.resolve_backend import (
    check_engine,
    check_text_models,
    open_embedder,
    resolve_embedder,
)
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.dedup.options import DedupOptions, DedupReportOptions
from megastyle_cli.models.options import BackendOptions, ModelOptions
from megastyle_cli.runner.options import (
    CacheOptions,
    EngineOptions,
    InputOptions,
    OutputOptions,
    ReplaceOptions,
    ReportOptions,
)


def main(
    context: typer.Context,
    inputs: InputOptions,
    output: OutputOptions,
    options: DedupOptions,
    extra: DedupReportOptions,
    existing: ReplaceOptions,
    caching: CacheOptions,
    which: BackendOptions,
    named: ModelOptions,
    compute: EngineOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.compute.engine import load_engine
    from megastyle_cli.core.record import Run, check_text
    from megastyle_cli.dedup.config import resolve_config
    from megastyle_cli.dedup.deduplicate import collect_signatures, find_duplicates
    from megastyle_cli.dedup.report import (
        build_report,
        count_stages,
        kept_metadata,
        rejected_metadata,
        summary,
    )
    from megastyle_cli.dedup.semantic import TextSource
    from megastyle_cli.io.output_paths import check_records_name
    from megastyle_cli.io.raw_jsonl.batches import read_annotated
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source

    key, sources = options.on, inputs_or_stdin(inputs.inputs, context)
    check_engine(compute.engine, sources)
    embedder, models = resolve_embedder(
        options.embedder, which.backend, named.model, is_nemo=options.preset == "nemo"
    )
    check_text_models(models if options.semantic else [])
    config = resolve_config(options, embedder)
    recorded = {"on": key, **config.as_dict(), "embedder": models if options.semantic else None}
    run = Run("dedup", recorded | recorded_weights("model", named.model), __version__)
    job = CollectJob(run, Source(inputs=sources), output=output, existing=existing, report=report)
    rejected, groups = job.side_outputs(extra.rejected, extra.report)
    if extra.rejected is not None:
        check_records_name(Path(extra.rejected))
    if report.dry_run:
        return job.show_plan()
    with job, load_engine(compute.engine, compute.workers) as engine, ExitStack() as stack:
        texts = job.collect_texts(key, partial(check_text, key=key))
        signatures = collect_signatures(texts, config, engine)

        progress = stack.enter_context(job.progress.stage())
        embedders = [
            stack.enter_context(
                open_embedder(backend, model, caching.cache, engine=engine, progress=progress)
            )
            for backend, model in (models if options.semantic else [])
        ]
        source = TextSource(job.spool, key)
        decisions = find_duplicates(signatures, config, source, embedders, engine, progress)
        progress.close()

        stages = count_stages(decisions, config)
        job.stats.measured |= {stage.stage: stage.stats() for stage in stages}
        if options.semantic:
            job.stats.measured["semantic"] |= decisions.search.as_dict()
        job.stats.remarks += [summary(stages), *decisions.search.remarks()]

        facts = {"run": run.key, "on": key}
        kept = kept_metadata(decisions, **facts)
        job.write(read_annotated(job.spool, decisions.kept_rows(), "dedup", *kept))
        if rejected:
            why = rejected_metadata(decisions, job.spool, **facts)
            dropped = read_annotated(job.spool, decisions.dropped_rows(), "dedup", why)
            job.write_to(rejected, dropped)
        if groups:
            report_json = json.dumps(build_report(decisions, stages, job.spool, key), indent=1)
            groups.write(f"{report_json}\n".encode())
    return job.exit_code
