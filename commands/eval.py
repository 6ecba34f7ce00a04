"""Measure a set of pictures: style score, retrieval by style, spread.

Examples:

  megastyle eval synth/
  megastyle eval synth/ --each -o scores.jsonl && megastyle eval scores.jsonl --page scores.html
  megastyle eval icons/ --label style_id --content-label content --backend edges --json
  megastyle eval icons/ --model runs/enc/encoder

Pictures with a style reference (style_file_name) get a style score, the cosine of the two style
vectors. Pictures that share a style_id are retrieved by one another: Recall@k, CSD's mAP@k (mean
precision over ranks) and textbook mAP@k, beside what a random ranking gives. --each passes on the
scored records instead. Descriptors: builtin (colour, edges, texture), edges (no colour), imagenet.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli import options
from megastyle_cli.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.stream.job import Done, Flow
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.stream.spool import Spool

DECODED_PX = 384


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    each: Annotated[bool, typer.Option("--each", help="Pass on every record, scored.")] = False,
    label: options.Label = "style_id",
    content_label: Annotated[
        str, typer.Option(metavar="KEY", help="As --label, for contents.")
    ] = "content_id",
    ranks: Annotated[
        str, typer.Option("--ranks", metavar="K,K", help="k of the measures.")
    ] = "1,10",
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
    backend: options.Backend = "builtin",
    model: options.Model = None,
    batch_size: options.BatchSize = 32,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli.models.backend import locate
    from megastyle_cli.steps.summary import for_page
    from megastyle_cli.stream.job import Flow
    from megastyle_cli.view.show import check_views, write_views

    backend = options.encoder(backend, model)
    locate("style_encoder", backend)
    check_views(sheet, page)
    flow = Flow(
        inputs=options.inputs_or_stdin(inputs, context),
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
    if each:
        done = _score_each(flow, backend, model)
        write_views(done.records, sheet, page, title="Scored pictures")
        return done.code
    if resume or shard:
        raise MegastyleError("a summary needs all records at once", hint="add --each, then fold")
    told = {"label": label, "content_label": content_label, "ks": _ranks(ranks), "seed": seed}
    code, records, summary = _summarise(flow, backend, model, told, as_json=as_json)
    write_views(records, sheet, page, title="Scored pictures", summary=for_page(summary))
    return code


def _score_each(flow: "Flow", backend: str, model: str | None) -> "Done":
    from megastyle_cli import __version__
    from megastyle_cli.record import Run, noted
    from megastyle_cli.steps.score import score_style
    from megastyle_cli.stream.images import read_pictures
    from megastyle_cli.stream.job import run_job

    run = Run("eval", {**options.told(backend, model), "each": True}, __version__)

    def load_step(_: Any) -> Any:
        encoder = options.load_encoder(backend, model)
        read = partial(read_pictures, max_side_px=options.decoded_px(model, DECODED_PX))
        step = partial(score_style, encoder=encoder, read=read, references={})
        facts = {"model": encoder.name, "run": run.key}
        return lambda records: noted(step(records), "eval", **facts)

    return run_job(run, flow, load_step)


def _summarise(
    flow: "Flow", backend: str, model: str | None, told: dict[str, Any], *, as_json: bool
) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run, note
    from megastyle_cli.steps.summary import Gathered, gather, headline, summarise, table
    from megastyle_cli.stream.images import read_pictures
    from megastyle_cli.stream.job import run_barrier
    from megastyle_cli.stream.jsonl import dump_line

    run = Run("eval", {**options.told(backend, model), **told}, __version__)
    is_seen = flow.output == "-" and sys.stdout.isatty() and not as_json
    gathered = Gathered()
    summary: dict[str, Any] = {}

    def work(spool: "Spool", tally: "Tally") -> Iterator[Any]:
        encoder = options.load_encoder(backend, model)
        read = partial(read_pictures, max_side_px=options.decoded_px(model, DECODED_PX))
        yield from gather(spool.read(), encoder, read, into=gathered)
        summary.update(summarise(gathered.records, gathered.matrix, **told))
        summary["failed"] = tally.num_failed
        if not is_seen:
            tally.remarks.append(f"{encoder.name}: {headline(summary)}")
        yield note(summary, "eval", model=encoder.name, run=run.key)

    line = (lambda record: table(record).encode()) if is_seen else dump_line
    done = run_barrier(run, flow, work, line=line)
    return done.code, gathered.records, summary


def _ranks(text: str) -> list[int]:
    try:
        ranks = sorted({int(number) for number in text.split(",")})
    except ValueError:
        ranks = [0]
    if ranks[0] < 1:
        raise MegastyleError(f"--ranks is {text!r}, not positive numbers", hint="for example 1,10")
    return ranks
