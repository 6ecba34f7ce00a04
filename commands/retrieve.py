"""Find pictures by style.

Examples:

  megastyle retrieve query.jpg --index gallery/
  megastyle retrieve queries/ --index synth/metadata.jsonl --top 5 -o found.jsonl --page found.html
  megastyle caption imgs/ | megastyle retrieve --index imgs/ --top 3

Each query record gets `neighbors`: id, score (cosine in [-1, 1]) and file_name, best first. The
builtin encoder is a weight-free style descriptor: statistics of colour, edges and texture. --model
takes what train-encoder makes, or the released encoder, instead.
"""

from functools import partial
from typing import Annotated, Any

import typer

from megastyle_cli import options
from megastyle_cli.errors import MegastyleError

DECODED_PX = 384


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Pictures, folder or JSON lines to search; may be repeated.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", metavar="K", min=1, help="Neighbours a query.")] = 10,
    keep_self: Annotated[
        bool, typer.Option("--keep-self", help="Let a query find itself in the index.")
    ] = False,
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
    from megastyle_cli import __version__
    from megastyle_cli.models.backend import locate
    from megastyle_cli.record import Run, noted
    from megastyle_cli.steps.retrieve import build_index, retrieve
    from megastyle_cli.stream.images import read_pictures
    from megastyle_cli.stream.job import Flow, run_job
    from megastyle_cli.stream.source import read_records
    from megastyle_cli.view.show import check_views, write_views

    if not index:
        raise MegastyleError("retrieve needs pictures to search", hint="give --index FOLDER")
    check_views(sheet, page)
    backend = options.encoder(backend, model)
    locate("style_encoder", backend)
    read = partial(read_pictures, max_side_px=options.decoded_px(model, DECODED_PX))
    bank = read_records(index)
    told = {**options.told(backend, model), "top": top, "keep_self": keep_self}
    run = Run("retrieve", told, __version__)

    def load_step(_: Any) -> Any:
        encoder = options.load_encoder(backend, model)
        built = build_index(bank, encoder, read)
        facts = {"model": encoder.name, "run": run.key, "index": built.fingerprint}
        step = partial(
            retrieve, index=built, encoder=encoder, read=read, k=top, keep_self=keep_self
        )
        return lambda records: noted(step(records), "retrieve", **facts)

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
        paths=options.separator(paths, null),
        batch_size=batch_size,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    done = run_job(run, flow, load_step)
    write_views(done.records, sheet, page, title="Found by style")
    return done.code
