"""Drop exact, near and semantic duplicates; one of each stays, the first unless --keep.

Examples:

  megastyle caption imgs/ | megastyle dedup -o styles.jsonl
  megastyle dedup captions.jsonl --on content -o contents.jsonl --rejected gone.jsonl
  megastyle dedup captions/ --no-semantic --report groups.json -o styles.jsonl
  megastyle dedup captions.jsonl --preset nemo --keep hard -o styles.jsonl

Three measures, in this order: exact (the same text but for case, width and spaces), near (shared
n-grams, found by MinHash and then compared one by one) and semantic (cosine of text embeddings).
A record goes only if it is close enough to a record that stays: no chains. --rejected tells for
each that went: for whom, how, and how close; --report shows the largest groups.

Presets. styles: near is 72 % of words in common. Up to 20 words that a fifth of all texts have, a
template's, count only where they differ, so that one attribute in a short caption counts and one
word of a prompt of 40 does not: a word swapped, dropped, misspelt or moved in drawn prompts is
found (recall over 0.999 of each), and of 1,376 captions of real pictures 224 go (same words in
another order 84, one word more 95), where plain words would take 975. In a pool of prompts of one
template up to some 25 words long, one other word makes another prompt. contents: 82 % of runs of
three characters, since another word in a short content is another content (2 % of those go), but a
plural (84 % go), an article (80 %) or a wrong letter (55 %) is none. nemo: the numbers of
NeMo-Curator 1.x, shingles of 24 characters in 20 x 13 hashes, candidates not compared, then MiniLM
at 0.99; it finds next to nothing in contents of six words.

--embedder static takes the mean of token vectors, thousands of texts a second; verified has its
pairs from 0.85 on compared by a sentence model; sentence embeds every text with that, on the GPU if
there is one. Up to 100,000 texts are compared all with all; among more, close ones are looked for
in cells, and the last lines say how many of the pairs of a sample of texts that found: at least
--semantic-recall of them. A mean of token vectors knows no order: to static, "a dog chases a cat"
and "a cat chases a dog" are the same.
"""

import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import typer

from megastyle_cli.cli.command_line import inputs_or_stdin
from megastyle_cli.cli.resolve_backend import (
    check_engine,
    check_text_models,
    open_embedder,
    resolve_embedder,
)
from megastyle_cli.core.fingerprint import recorded_weights
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
    options: DedupOptions,
    extra: DedupReportOptions,
    output: OutputOptions,
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
    from megastyle_cli.io.raw_jsonl.annotate import read_annotated
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.progress import Stage

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

        progress = stack.enter_context(
            Stage("dedup", quiet=report.quiet, to_stdout=job.writes_to_stdout)
        )
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
