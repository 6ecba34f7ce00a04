"""Score styles, retrieval and diversity.

Examples:

  megastyle eval synth/ --page report.html
  megastyle eval outputs/ --reference monet/ --others paintings/ --model runs/enc/encoder
  megastyle eval synth/ --text-model openai/clip-vit-large-patch14 --leakage --diversity
  megastyle eval synth/ --each -o scores.jsonl

Images with a style reference get a style score: the cosine of their style vectors. Images that
share a style_id are searched for each other: Recall@k and mAP@k. The summary gives 95 % confidence
intervals and random baselines.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from megastyle_cli.benchmark.options import BenchmarkOptions
from megastyle_cli.bias.options import BiasOptions, check_bias_options
from megastyle_cli.captioning.options import ServerOptions
from megastyle_cli.cli.parameters import given_flag, inputs_or_stdin
from megastyle_cli.cli.resolve_backend import encoder_hardware
from megastyle_cli.core.errors import DONE, MegastyleError
from megastyle_cli.core.shard import rank_and_world
from megastyle_cli.evaluate.options import ScoringOptions, SummaryOptions
from megastyle_cli.models.options import DeviceOptions, EncoderBackendOptions, ModelOptions
from megastyle_cli.models.registry import encoder_backend
from megastyle_cli.paper_protocols.options import ProtocolOptions
from megastyle_cli.preference.options import PreferenceOptions, check_preference_options
from megastyle_cli.runner.options import (
    BatchOptions,
    CacheOptions,
    InputOptions,
    JsonOptions,
    OutputOptions,
    ReportOptions,
    ResumeOptions,
    SeedOptions,
    ViewOptions,
)

if TYPE_CHECKING:
    from megastyle_cli.evaluate.config import ScoringConfig, SummaryConfig
    from megastyle_cli.io.images import ImageReader

DECODED_PX = 384
MODEL_BATCH = 256  # records at most, where a GPU computes while images are decoded


def main(
    context: typer.Context,
    inputs: InputOptions,
    scores: ScoringOptions,
    summary: SummaryOptions,
    benchmark: BenchmarkOptions,
    of_styles: BiasOptions,
    published: ProtocolOptions,
    voting: PreferenceOptions,
    output: OutputOptions,
    printing: JsonOptions,
    existing: ResumeOptions,
    drawing: SeedOptions,
    which: EncoderBackendOptions,
    named: ModelOptions,
    hardware: DeviceOptions,
    server: ServerOptions,
    batches: BatchOptions,
    views: ViewOptions,
    caching: CacheOptions,
    report: ReportOptions,
) -> int:
    from megastyle_cli.benchmark.score_systems import (
        RunSettings,
        check_tiers,
        fold_results,
        holds_query_results,
        run_benchmark,
    )
    from megastyle_cli.benchmark.systems import System, parse_systems
    from megastyle_cli.evaluate.config import ScoringConfig, SummaryConfig
    from megastyle_cli.models.registry import locate
    from megastyle_cli.report.outputs import check_views
    from megastyle_cli.runner.side_input import read_side_input

    backend = encoder_backend(which.backend, named.model)
    locate("style_encoder", backend)
    check_views(views.sheet, views.page)
    folder = benchmark.benchmark
    if folder is not None and (inputs.inputs or existing.limit is not None):
        raise MegastyleError("--benchmark takes no input or --limit", hint="give --benchmark DIR")
    if (scores.pair_by or scores.others) and not scores.reference:
        raise MegastyleError("--pair-by and --others need references", hint="add --reference PATH")
    if (existing.resume or existing.shard) and not scores.each:
        raise MegastyleError(
            "a summary cannot be resumed or sharded",
            hint="add --each, then run eval on the scored records",
        )
    bias_url = None if published.protocol else server.base_url
    check_bias_options(of_styles, scores.text_model, bias_url)
    check_preference_options(voting, benchmark.system)
    how: dict[str, Any] = {"output": output, "existing": existing, "report": report}
    if voting.make_preference is not None:
        from megastyle_cli.preference.eval_votes import make_page

        del how["output"]
        painters = {each.name: each.pictures for each in parse_systems(benchmark.system or [])}
        count, seed = voting.comparisons, drawing.seed
        return make_page(voting.make_preference, painters, count, seed, **how)
    names = [str(folder)] if folder else inputs_or_stdin(inputs.inputs, context)
    if voting.preference is not None:
        from megastyle_cli.preference.eval_votes import count_votes

        how["as_json"] = printing.as_json
        return count_votes(names, voting.preference, drawing.seed, **how)
    if benchmark.make_benchmark is not None:
        from megastyle_cli.benchmark.make import make_benchmark, selection_of

        label, content_label = summary.label, summary.content_label
        chosen, where = selection_of(benchmark, label, content_label, drawing.seed)
        return make_benchmark(names, benchmark.make_benchmark, chosen, where, **how)
    if of_styles.bias or of_styles.originals:
        from megastyle_cli.bias.style_measures import Keys, summarize_bias, summarize_kept

        keys = Keys(label=summary.label, content_label=summary.content_label)
        how |= {"as_json": printing.as_json, "seed": drawing.seed}
        if server.base_url:
            from megastyle_cli.bias.eval_intrusion import summarize_intrusion

            how["cache"] = caching.cache
            return summarize_intrusion(names, of_styles, keys, server, named.model, **how)
        how["hardware"] = encoder_hardware(named.model or scores.text_model, hardware)
        if of_styles.bias:
            return summarize_bias(names, of_styles, keys, scores.text_model, **how)
        return summarize_kept(names, of_styles, keys, backend, named.model, **how)
    if published.protocol:
        from megastyle_cli.paper_protocols.eval_protocols import ComparedWith, summarize_protocols

        _check_only_protocols(scores, summary, benchmark, existing, views)
        compared_with = ComparedWith(
            references=list(read_side_input(scores.reference or [])),
            others=list(read_side_input(scores.others or [])),
            pair_by=scores.pair_by,
            label=summary.label,
            prompt_key=scores.prompt_key,
            seed=drawing.seed,
        )
        how |= {"as_json": printing.as_json, "backend": backend, "model": named.model}
        how["hardware"] = encoder_hardware(named.model or "protocol", hardware)
        how |= {"server": server, "cache": caching.cache}
        return summarize_protocols(names, published.protocol, compared_with, **how)
    if benchmark.compares_systems or (folder and scores.each) or holds_query_results(names):
        _check_no_scoring(scores, summary, existing, views)
        how |= {"table": benchmark.table, "page": views.page, "as_json": printing.as_json}
        if folder is None:
            _check_folds(names, benchmark, scores)
            return fold_results(names, drawing.seed, **how)
        own = System(
            name=named.model or backend, kind="encoder", backend=backend, model=named.model
        )
        systems = parse_systems(benchmark.system or []) or [own]
        settings = RunSettings(
            systems=systems,
            judge=own,
            tiers=check_tiers(benchmark.tier or []),
            ks=_parse_ranks(summary.ranks),
            seed=drawing.seed,
            cache=caching.cache,
            hardware=encoder_hardware(
                next((s.model for s in (own, *systems) if s.model), None), hardware
            ),
        )
        return run_benchmark(folder, settings, each=scores.each, **how)
    scoring = ScoringConfig(
        backend=backend,
        model=named.model,
        text_model=scores.text_model,
        text_key=scores.prompt_key,
        leakage=scores.leakage,
        references=list(read_side_input(scores.reference or [])),
        others=list(read_side_input(scores.others or [])),
        pair_by=scores.pair_by,
        hardware=encoder_hardware(named.model or scores.text_model, hardware),
    )
    if scores.each:
        size = batches.batch_size
        if named.model and not given_flag(context, ("batch_size",)):
            size = MODEL_BATCH
        return _score_each(names, scoring, output, existing, size, views, report)
    ranks = _parse_ranks(summary.ranks)
    if folder is not None:
        config = _benchmark_config(folder, ranks, drawing.seed, diversity=summary.diversity)
    else:
        config = SummaryConfig(
            label=summary.label,
            content_label=summary.content_label,
            ks=ranks,
            seed=drawing.seed,
            diversity=summary.diversity,
        )
    return _summarize(
        names, scoring, config, output, existing, views, report, as_json=printing.as_json
    )


def _score_each(
    names: list[str],
    scoring: "ScoringConfig",
    output: OutputOptions,
    existing: ResumeOptions,
    batch_size: int,
    views: ViewOptions,
    report: ReportOptions,
) -> int:
    """Writes every record with its scores; the exit code."""
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate_all
    from megastyle_cli.evaluate.score import FEATURE_CACHE_SIZE, only_scored, score_records
    from megastyle_cli.report.outputs import write_views
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.map_job import MapJob

    run = Run("eval", {**scoring.options, "each": True}, __version__)
    job = MapJob(
        run,
        Source(inputs=names),
        output=output,
        existing=existing,
        report=report,
        batch_size=batch_size,
        keeps_records=views.are_wanted,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        if job.has_records():
            scorer = scoring.load(*_readers(), FEATURE_CACHE_SIZE)
            models, references = scorer.models, scorer.references
            facts = {**models.provenance, **references.provenance, "run": run.key}
            for batch in job.batches():
                scored = score_records(batch, models=models, references=references)
                job.write(annotate_all(only_scored(scored, models), "eval", **facts))
    write_views(job.records(), views.sheet, views.page, title="Style scores")
    return job.exit_code


def _summarize(
    names: list[str],
    scoring: "ScoringConfig",
    config: "SummaryConfig",
    output: OutputOptions,
    existing: ResumeOptions,
    views: ViewOptions,
    report: ReportOptions,
    *,
    as_json: bool,
) -> int:
    """Writes one summary of all records; the exit code."""
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate
    from megastyle_cli.evaluate.console import headline, missing_metric_hints, table
    from megastyle_cli.evaluate.report_data import build_report_data
    from megastyle_cli.evaluate.scored_set import ScoredSet
    from megastyle_cli.evaluate.summary import summarize
    from megastyle_cli.io.readers.jsonl import dump_line
    from megastyle_cli.io.writers.stream import line_for
    from megastyle_cli.models.ranks import join_ranks
    from megastyle_cli.report.outputs import write_views
    from megastyle_cli.runner.collect_job import CollectJob
    from megastyle_cli.runner.job import Source
    from megastyle_cli.runner.rank_worker import work_for_first

    if report.dry_run and rank_and_world()[0]:
        return DONE  # the first process shows the plan
    ranks = None if report.dry_run else join_ranks()
    if ranks is not None and not ranks.is_first:
        return work_for_first(ranks, lambda: scoring.load_models(*_readers()).extract_share)
    run = Run("eval", {**scoring.options, **config.options}, __version__)
    line = line_for(output.output, table, as_json=as_json)
    job = CollectJob(
        run,
        Source(inputs=names),
        output=output,
        existing=existing,
        report=report,
        line=line,
        is_summary=True,
        has_ranks=True,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        records = job.collect()
        scorer = scoring.load(*_readers(), ranks=ranks)
        scored_set = ScoredSet(config.label, scorer.models, scorer.references)
        job.write(scored_set.add(records.read()))
        prompts = scorer.embed_prompts(scored_set.style_prompts) if config.diversity else None
        summary = summarize(scored_set, config, prompts) | {"failed": job.stats.num_failed}
        summary = annotate(summary, "eval", **scored_set.provenance, run=run.key)
        if line is dump_line:
            job.stats.remarks.append(f"{scored_set.provenance['model']}: {headline(summary)}")
        job.stats.remarks += missing_metric_hints(summary, scored_set, leakage=scoring.leakage)
        job.write([summary])
        write_views(scored_set.records, views.sheet, None, title="Style scores")
        if views.page is not None:
            from megastyle_cli.report.eval_report import write_report

            data = vars(build_report_data(scored_set, config.seed))
            write_report(views.page, title="Evaluation", summary=summary, **data)
    if ranks is not None:
        ranks.end(job.exit_code)
    return job.exit_code


def _benchmark_config(
    folder: Path, ranks: list[int], seed: int, *, diversity: bool
) -> "SummaryConfig":
    """What the benchmark in `folder` asks for. Raises MegastyleError if it has been changed."""
    from megastyle_cli.benchmark.folder import open_benchmark
    from megastyle_cli.benchmark.selection import SPLIT_KEY
    from megastyle_cli.evaluate.config import SummaryConfig

    settings, _ = open_benchmark(folder)
    return SummaryConfig(
        label=settings.label,
        content_label=settings.content_label,
        ks=ranks,
        seed=seed,
        diversity=diversity,
        split_key=SPLIT_KEY,
        benchmark=settings.hash,
    )


def _check_no_scoring(
    scores: ScoringOptions, summary: SummaryOptions, existing: ResumeOptions, views: ViewOptions
) -> None:
    """Raises MegastyleError for options that a comparison of systems does not take."""
    given = {
        "--reference": scores.reference,
        "--text-model": scores.text_model,
        "--leakage": scores.leakage,
        "--diversity": summary.diversity,
        "--sheet": views.sheet,
        "--resume": existing.resume,
        "--shard": existing.shard,
    }
    for flag, value in given.items():
        if value:
            raise MegastyleError(f"a comparison of systems takes no {flag}", hint="omit it")


def _check_only_protocols(
    scores: ScoringOptions,
    summary: SummaryOptions,
    benchmark: BenchmarkOptions,
    existing: ResumeOptions,
    views: ViewOptions,
) -> None:
    """Raises MegastyleError for options that --protocol does not take."""
    given = {
        "--benchmark": benchmark.benchmark,
        "--system": benchmark.system,
        "--each": scores.each,
        "--text-model": scores.text_model,
        "--leakage": scores.leakage,
        "--diversity": summary.diversity,
        "--sheet": views.sheet,
        "--page": views.page,
        "--resume": existing.resume,
        "--shard": existing.shard,
    }
    for flag, value in given.items():
        if value:
            raise MegastyleError(
                f"--protocol takes no {flag}", hint="name models by --protocol NAME=MODEL"
            )


def _check_folds(names: list[str], benchmark: BenchmarkOptions, scores: ScoringOptions) -> None:
    """Raises MegastyleError unless the inputs are results by query."""
    from megastyle_cli.benchmark.score_systems import holds_query_results

    if benchmark.system or benchmark.tier:
        raise MegastyleError("--system and --tier need a benchmark", hint="add --benchmark DIR")
    if scores.each or not holds_query_results(names):
        raise MegastyleError(
            f"{names[0]} holds no results by query to make a table of",
            hint="write them first: megastyle eval --benchmark DIR --system NAME --each -o FILE",
        )


def _readers() -> tuple["ImageReader", "ImageReader"]:
    """What opens images for the builtin encoders, and what opens them at full size."""
    from megastyle_cli.io.images import ImageReader

    return ImageReader(DECODED_PX), ImageReader()


def _parse_ranks(text: str) -> list[int]:
    try:
        ranks = sorted({int(number) for number in text.split(",")})
    except ValueError:
        ranks = [0]
    if ranks[0] < 1:
        raise MegastyleError(f"--ranks is {text!r}, not positive numbers", hint="for example 1,10")
    return ranks
