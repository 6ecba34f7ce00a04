"""Find pictures by style.

Examples:

  megastyle retrieve query.jpg --index gallery/
  megastyle retrieve queries/ --index synth/metadata.jsonl --top 5 -o found.jsonl --page found.html
  megastyle retrieve --index gallery.index --add gallery/
  megastyle retrieve a.jpg b.jpg --prototype --index gallery.index
  megastyle retrieve --text "ink wash" --model siglip/ --index photos.index

Each query gets `neighbors`: id, score (cosine in [-1, 1], or CSLS) and file_name, best first.
--add builds an index that stays, or adds to it what it does not hold: a picture of the same content
at another path is a row of its own. Stop it when you like, the same command goes on. An index is
only searched with the encoder that made it.

The builtin encoder is statistics of colour, edges and texture, weighed by what tells 60 families of
icons and themes apart; --backend statistics leaves them unweighed. Among 14 families it never saw,
80 % of pictures find their own first. Real paintings it does not tell from photographs: of 16
searched among both, 10 have a photograph first. --model takes what train-encoder makes, or the
released encoder, instead.
"""

from collections.abc import Iterator
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.io.spool import Spool
    from megastyle_cli.runner.progress import Stats

DECODED_PX = 384


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="What to search: pictures, folders, JSON lines (repeat), or one saved index.",
            show_default=False,
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Add these pictures to the saved index, made if need be; may be repeated.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="Neighbours a query.")] = 10,
    keep_self: Annotated[
        bool, typer.Option("--keep-self", help="Let a query find itself in the index.")
    ] = False,
    prototype: Annotated[
        bool, typer.Option("--prototype", help="All queries are one: their mean.")
    ] = False,
    prototype_by: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="One query for each value of KEY.", show_default=False),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Query by words; may be repeated.", show_default=False),
    ] = None,
    text_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Query by the text under KEY.", show_default=False),
    ] = None,
    score: Annotated[
        Literal["cosine", "csls"],
        typer.Option(metavar="cosine|csls", help="csls: a row near to everything counts for less."),
    ] = "cosine",
    method: Annotated[
        Literal["exact", "ivf"],
        typer.Option(metavar="exact|ivf", help="ivf: faster over many rows; recall is measured."),
    ] = "exact",
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    shard: options.ShardOf = None,
    limit: options.Limit = None,
    paths: options.Paths = False,
    null: options.NulPaths = False,
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
    from megastyle_cli import __version__
    from megastyle_cli.core.record import Run, annotate_all
    from megastyle_cli.io.images import read_pictures
    from megastyle_cli.models.registry import locate
    from megastyle_cli.report.outputs import check_views, write_views
    from megastyle_cli.retrieve.retrieve import check_text_encoder, retrieve, retrieve_prototypes
    from megastyle_cli.retrieve.style_index import IndexSource
    from megastyle_cli.runner.callbacks import Flow, run_barrier, run_job
    from megastyle_cli.runner.progress import Stats

    if not index:
        raise MegastyleError("retrieve needs pictures to search", hint="give --index FOLDER")
    is_prototype = prototype or prototype_by is not None
    if is_prototype and (resume or shard):
        raise MegastyleError(
            "a prototype needs all its queries at once", hint="leave out --resume and --shard"
        )
    check_views(sheet, page)
    backend = backends.encoder_backend(backend, model)
    locate("style_encoder", backend)
    load_encoder = cache(partial(backends.load_encoder, backend, model))
    read = partial(read_pictures, max_side_px=backends.decoded_px(model, DECODED_PX))
    told = {**backends.recorded_model(backend, model), "top": top, "keep_self": keep_self}
    unusual = {"prototype": prototype, "prototype_by": prototype_by, "text_key": text_key}
    told |= {name: value for name, value in unusual.items() if value}
    told |= {"score": score} if score != "cosine" else {}
    told |= {"method": method} if method != "exact" else {}
    run = Run("retrieve", told, __version__)
    flow = Flow(
        inputs=[],
        given=[{text_key or "text": words} for words in text or []],
        output=output,
        errors=errors,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        paths=options.separator(paths, null),
        batch_size=batch_size,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    if add:
        is_last = not inputs and not text
        code = _grow(index, add, run, flow, load_encoder, read, is_last=is_last)
        if code or is_last:
            return code
    if inputs or not text:
        flow.inputs.extend(options.inputs_or_stdin(inputs, context))
    source = IndexSource.find(index)

    def step(tally: Stats, step_of: Any) -> Any:
        encoder = load_encoder()
        if text and not inputs:
            check_text_encoder(encoder)
        opened = source.open(encoder, read, method, score)
        tally.measured.update(opened.searcher.stats)
        tally.remarks.extend(opened.searcher.remarks)
        facts = {"model": encoder.name, "run": run.key, "index": opened.fingerprint}
        bound = partial(
            step_of,
            index=opened,
            encoder=encoder,
            read=read,
            k=top,
            keep_self=keep_self,
            text_key=text_key,
        )
        return lambda records: annotate_all(bound(records), "retrieve", **facts)

    def fold(queries: "Spool", tally: "Stats") -> Iterator[Any]:
        if len(queries):  # no query needs no model
            yield from step(tally, partial(retrieve_prototypes, by=prototype_by))(queries.read())

    if is_prototype:
        done = run_barrier(run, flow, fold)
    else:
        tally = Stats("retrieve")
        done = run_job(run, flow, lambda _: step(tally, retrieve), tally=tally)
    write_views(done.records, sheet, page, title="Found by style")
    return done.code


def _grow(
    index: list[str],
    add: list[str],
    run: Any,
    flow: Any,
    load_encoder: Any,
    read: Any,
    *,
    is_last: bool,
) -> int:
    """Adds what `add` names to the saved index; the exit code."""
    from dataclasses import replace
    from pathlib import Path

    from megastyle_cli.retrieve.index_writer import IndexWriter, embed_rows, index_sink
    from megastyle_cli.runner.callbacks import run_job

    if len(index) > 1:
        raise MegastyleError(
            f"--add fills one index, not {len(index)}", hint="give one --index DIR"
        )
    if flow.shard:
        raise MegastyleError("an index is filled by one process", hint="leave out --shard")
    if is_last and (flow.output != "-" or flow.keep):
        raise MegastyleError(
            "-o, --sheet and --page show what queries found, and there are none",
            hint="name the queries, or leave them out",
        )
    folder = Path(index[0])
    writer = IndexWriter(folder)

    def load_step(_: Any) -> Any:
        encoder = load_encoder()
        options = {key: run.options[key] for key in ("backend", "model") if key in run.options}
        writer.set_encoder(encoder, options)
        return partial(embed_rows, encoder=encoder, read=read)

    adding = replace(
        flow,
        inputs=add,
        given=[],
        output=str(folder),
        resume=True,
        limit=flow.limit if is_last else None,
        paths=flow.paths if is_last else None,
        keep=False,
        stats=flow.stats if is_last else None,
    )
    sink = index_sink(writer, run, flow.errors if is_last else None)
    return run_job(run, adding, load_step, instead=sink).code
