"""Measure pictures: style and text score, retrieval by style, content leakage, diversity.

Examples:

  megastyle eval synth/ --page report.html
  megastyle eval outputs/ --reference monet/ --others paintings/ --model runs/enc/encoder
  megastyle eval synth/ --text-model openai/clip-vit-large-patch14 --leakage --diversity
  megastyle eval synth/ --each -o scores.jsonl && megastyle eval scores.jsonl --json
  megastyle eval icons/ --content-label content --make-benchmark bench/ --styles 50 --per-style 8
  megastyle eval --benchmark bench/ --model runs/enc/encoder

Pictures with a style reference (style_file_name, or --reference for all) get a style score, the
cosine of the style vectors; of several references the mean. It means little alone: beside it stand
the same with references of other styles (random) and CSLS. Pictures that share a style_id are
retrieved by one another: Recall@k, CSD's mAP@k (mean precision over ranks) and textbook mAP@k,
beside a random ranking. Intervals are 95 %, over styles, and a little narrow for few: of 14 styles
they hold the truth in 91 % of cases, of 5 in 85 %. --each passes on the scored records instead.
Descriptors: builtin (colour, edges, texture, weighed), statistics (the same, unweighed),
edges (no colour), imagenet.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.evaluate.config import ScoringConfig, SummaryConfig
    from megastyle_cli.io.spool import Spool
    from megastyle_cli.runner.callbacks import Done, Flow
    from megastyle_cli.runner.progress import Stats

DECODED_PX = 384


def _option(metavar: str, words: str) -> Any:
    return typer.Option(metavar=metavar, help=words, show_default=False)


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    reference: Annotated[
        list[str] | None, _option("PATH", "Score all against these pictures; may be repeated.")
    ] = None,
    pair_by: Annotated[
        str | None, _option("KEY", "Only against those of equal KEY, or of equal file stem: stem.")
    ] = None,
    others: Annotated[
        list[str] | None, _option("PATH", "Pictures of other styles, to read --reference against.")
    ] = None,
    each: Annotated[bool, typer.Option("--each", help="Pass on every record, scored.")] = False,
    text_model: Annotated[
        str | None, _option("NAME", "A whole CLIP or SigLIP, for the text score: folder or name.")
    ] = None,
    prompt_key: Annotated[
        str, typer.Option(metavar="KEY", help="What a picture was asked to show.")
    ] = "content",
    leakage: Annotated[
        bool, typer.Option("--leakage", help="How much of the references' content is in them.")
    ] = False,
    diversity: Annotated[
        bool, typer.Option("--diversity", help="MPD, Vendi and MNND of pictures and style prompts.")
    ] = False,
    label: options.Label = "style_id",
    content_label: options.ContentLabel = "content_id",
    ranks: Annotated[
        str, typer.Option("--ranks", metavar="K,K", help="k of the measures.")
    ] = "1,10",
    benchmark: Annotated[
        Path | None, _option("DIR", "Run the benchmark in DIR; it takes no input.")
    ] = None,
    make_benchmark: Annotated[
        Path | None, _option("DIR", "Choose styles and contents, write DIR/metadata.jsonl.")
    ] = None,
    styles: Annotated[
        int, typer.Option("--styles", metavar="N", min=2, help="Styles of a benchmark.")
    ] = 100,
    per_style: Annotated[
        int, typer.Option("--per-style", metavar="N", min=1, help="Contents a style.")
    ] = 8,
    split_key: Annotated[
        str | None,
        _option("KEY", 'Styles whose records say "heldout" here are held out, no others.'),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON also on a terminal.")] = False,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    shard: options.ShardOf = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    backend: options.EncoderBackend = "builtin",
    model: options.Model = None,
    batch_size: options.BatchSize = 32,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli.evaluate.config import ScoringConfig, SummaryConfig
    from megastyle_cli.models.registry import locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.runner.callbacks import Flow, read_side_input

    backend = backends.encoder_backend(backend, model)
    locate("style_encoder", backend)
    check_views(sheet, page)
    if benchmark is not None and (inputs or each or limit is not None):
        raise MegastyleError("a benchmark is run whole", hint="give --benchmark DIR and no input")
    if (pair_by or others) and not reference:
        raise MegastyleError("no references are given", hint="add --reference PATH")
    if (resume or shard) and not each:
        raise MegastyleError("a summary needs all records at once", hint="add --each, then fold")
    flow = Flow(
        inputs=[str(benchmark)] if benchmark else options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        batch_size=batch_size,
        keep=each and bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    if make_benchmark is not None:
        size = {"styles": styles, "per_style": per_style, "seed": seed}
        keys = {"label": label, "content_label": content_label}
        return _make_benchmark(flow, make_benchmark, size | keys, split_key)
    scoring = ScoringConfig(
        backend=backend,
        model=model,
        text_model=text_model,
        text_key=prompt_key,
        leakage=leakage,
        references=read_side_input(reference or [], lambda _: None),
        others=read_side_input(others or [], lambda _: None),
        pair_by=pair_by,
    )
    if each:
        done = _score_each(flow, scoring)
        write_views(done.records, sheet, page, title="Scored pictures")
        return done.code
    ks = _ranks(ranks)
    if benchmark is not None:
        summary_config = _benchmark(benchmark, ks, seed, diversity=diversity)
    else:
        keys = {"label": label, "content_label": content_label}
        summary_config = SummaryConfig(**keys, ks=ks, seed=seed, diversity=diversity)
    return _summarize(flow, scoring, summary_config, (sheet, page), as_json=as_json)


def _readers() -> tuple[Any, Any]:
    from megastyle_cli.io.images import read_pictures

    return partial(read_pictures, max_side_px=DECODED_PX), read_pictures


def _score_each(flow: "Flow", scoring: "ScoringConfig") -> "Done":
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate_all
    from megastyle_cli.evaluate.score import FEATURE_CACHE_SIZE, only_scored, score_records
    from megastyle_cli.runner.callbacks import run_job

    run = Run("eval", {**scoring.options, "each": True}, __version__)

    def load_step(_: Any) -> Any:
        scorer = scoring.load(*_readers(), FEATURE_CACHE_SIZE)
        score = partial(score_records, models=scorer.models, references=scorer.references)
        provenance = {**scorer.models.provenance, **scorer.references.provenance, "run": run.key}
        return lambda records: annotate_all(
            only_scored(score(records), scorer.models), "eval", **provenance
        )

    return run_job(run, flow, load_step)


def _summarize(
    flow: "Flow",
    scoring: "ScoringConfig",
    summary_config: "SummaryConfig",
    views: tuple[Path | None, Path | None],
    *,
    as_json: bool,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate
    from megastyle_cli.evaluate.console import headline, missing_metric_hints, table
    from megastyle_cli.evaluate.report_data import build_report_data
    from megastyle_cli.evaluate.scored_set import ScoredSet
    from megastyle_cli.evaluate.summary import summarize
    from megastyle_cli.io.readers.jsonl import dump_line
    from megastyle_cli.report.outputs import write_views
    from megastyle_cli.runner.callbacks import run_barrier

    run = Run("eval", {**scoring.options, **summary_config.options}, __version__)
    is_seen = flow.output == "-" and sys.stdout.isatty() and not as_json
    made: list[tuple[ScoredSet, dict[str, Any]]] = []

    def work(spool: "Spool", tally: "Stats") -> Iterator[Any]:
        scorer = scoring.load(*_readers())
        scored_set = ScoredSet(summary_config.label, scorer.models, scorer.references)
        yield from scored_set.add(spool.read())
        prompts = (
            scorer.embed_prompts(scored_set.style_prompts) if summary_config.diversity else None
        )
        summary = {**summarize(scored_set, summary_config, prompts), "failed": tally.num_failed}
        summary = annotate(summary, "eval", **scored_set.provenance, run=run.key)
        made.append((scored_set, summary))
        if not is_seen:
            tally.remarks.append(f"{scored_set.provenance['model']}: {headline(summary)}")
        tally.remarks += missing_metric_hints(summary, scored_set, leakage=scoring.leakage)
        yield summary

    line = (lambda record: table(record).encode()) if is_seen else dump_line
    done = run_barrier(run, flow, work, line=line)
    for scored_set, summary in made:
        sheet, page = views
        write_views(scored_set.records, sheet, None, title="Scored pictures")
        if page is not None:
            from megastyle_cli.report.eval_report import write_report

            drawn = vars(build_report_data(scored_set, summary_config.seed))
            write_report(page, title="Scored pictures", summary=summary, **drawn)
    return done.code


def _make_benchmark(flow: "Flow", folder: Path, size: dict[str, Any], split_key: str | None) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run
    from megastyle_cli.evaluate.benchmark import (
        BenchmarkSettings,
        build_benchmark,
        check_folder,
        select_records,
        write_settings,
    )
    from megastyle_cli.runner.callbacks import run_barrier

    run = Run("eval", {"make_benchmark": True, **size, "split_key": split_key}, __version__)
    made: list[BenchmarkSettings] = []

    def work(spool: "Spool", tally: "Stats") -> Iterator[Any]:
        found = spool.read()
        held_out = [r for r in found if split_key is None or r.get(split_key) == "heldout"]
        rows, settings = build_benchmark(select_records(held_out, **size), size, run.key)
        made.append(settings)
        tally.remarks.append(f"{settings.queries} queries, {settings.gallery} in the gallery")
        tally.remarks.append(f"hash {settings.hash}; run it: megastyle eval --benchmark {folder}")
        yield from rows

    check_folder(folder)
    done = run_barrier(run, replace(flow, output=str(folder / "metadata.jsonl")), work)
    for settings in made:
        write_settings(folder, settings)
    return done.code


def _benchmark(folder: Path, ranks: list[int], seed: int, *, diversity: bool) -> "SummaryConfig":
    """What a benchmark asks. Raises MegastyleError if it is not what it was made as."""
    from megastyle_cli.evaluate.benchmark import SPLIT_KEY, read_settings, verify_benchmark
    from megastyle_cli.evaluate.config import SummaryConfig
    from megastyle_cli.runner.callbacks import read_side_input

    settings = read_settings(folder)
    verify_benchmark(read_side_input([str(folder)], lambda _: None), settings, str(folder))
    return SummaryConfig(
        label=settings.label,
        content_label=settings.content_label,
        ks=ranks,
        seed=seed,
        diversity=diversity,
        split_key=SPLIT_KEY,
        benchmark=settings.hash,
    )


def _ranks(text: str) -> list[int]:
    try:
        ranks = sorted({int(number) for number in text.split(",")})
    except ValueError:
        ranks = [0]
    if ranks[0] < 1:
        raise MegastyleError(f"--ranks is {text!r}, not positive numbers", hint="for example 1,10")
    return ranks
