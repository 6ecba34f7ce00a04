"""Apply the style of reference pictures to a picture, or to many.

Examples:

  megastyle transfer --style great_wave.jpg --content cat.jpg -o cat_wave.png
  megastyle transfer --style a.jpg --style b.jpg --weight 7 --weight 3 --content cat.jpg -o mix.png
  megastyle transfer --style great_wave.jpg photos/ -o waves/ --resume
  megastyle transfer --style great_wave.jpg --content cat.jpg --strength 0.5 -o - | display

The builtin stylist is neural style transfer on a CPU: it needs a content picture. Records may bring
their own style_file_name and content_file_name; --style is for those that have none.
"""

from functools import partial
from typing import Annotated, Any

import typer

from megastyle_cli import options
from megastyle_cli.errors import DONE, MegastyleError

STYLE_PX = 512  # style pictures are decoded at this longer side


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PICTURE", help="Style reference; several are mixed.", show_default=False
        ),
    ] = None,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            metavar="W",
            min=0,
            help="Share of each --style, in their order; default equal.",
            show_default=False,
        ),
    ] = None,
    content: Annotated[
        str | None,
        typer.Option(metavar="PICTURE", help="The one picture to restyle.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            show_default=False,
            help="What to paint; needs a backend that paints from words.",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=32,
            max=4096,
            show_default=False,
            help="Longer side of the result; default: the content picture's.",
        ),
    ] = None,
    strength: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="S", help="0: the content picture; 1: full style."),
    ] = 1.0,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="A picture (one result), - for a PNG on stdout, or a directory.",
            show_default=False,
        ),
    ] = None,
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    force: options.Force = False,
    shard: options.ShardOf = None,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    backend: options.Backend = "builtin",
    batch_size: options.BatchSize = 8,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.models.backend import load, locate
    from megastyle_cli.record import Run
    from megastyle_cli.steps.transfer import mixed, transfer
    from megastyle_cli.stream.images import read_pictures, remembering_reader, saver
    from megastyle_cli.stream.job import Flow, run_job
    from megastyle_cli.stream.progress import say
    from megastyle_cli.stream.single import is_single, make_one, picture_writer
    from megastyle_cli.stream.source import picture_id
    from megastyle_cli.view.show import check_views, write_views

    check_views(sheet, page)
    locate("stylist", backend)
    references = mixed(style or [], weight or [])
    told = {
        "backend": backend,
        "style": [picture_id(name) for name in references.names],
        "weights": [round(share, 4) for share in references.weights],
        "size": size,
        "strength": strength,
        "seed": seed,
    }
    run = Run("transfer", told, __version__)
    step = partial(
        transfer,
        references=references,
        read_content=partial(read_pictures, max_side_px=size),
        read_style=remembering_reader(STYLE_PX, remembered=64),
        long_side_px=size,
        strength=strength,
        seed=seed,
        run=run.key,
    )
    if output is None:
        raise MegastyleError(
            "transfer makes pictures", hint="give -o out.png, -o - or -o DIRECTORY"
        )
    if content is not None and inputs:
        raise MegastyleError("--content and inputs are given", hint="give one of the two")
    if is_single(output):
        for_many: dict[str, object] = {"--errors": errors, "--resume": resume, "--shard": shard}
        for_many |= {"--limit": limit, "--stats": stats, "--sheet": sheet, "--page": page}
        for flag in (flag for flag, value in for_many.items() if value):
            raise MegastyleError(f"{flag} is for many pictures", hint="give -o DIRECTORY")
        record = _one(inputs, content, prompt)
        if dry_run:
            say(f"transfer (dry run): one picture to {output} with {told}")
            return DONE
        save = picture_writer(output, overwrite=overwrite)
        make_one(partial(step, stylist=load("stylist", backend), save=save), record)
        return DONE
    if prompt is not None:
        raise MegastyleError(
            "--prompt makes one picture", hint="give -o out.png, or records to many"
        )
    flow = Flow(
        inputs=[content] if content else options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        resume=resume,
        overwrite=overwrite,
        force=force,
        shard=shard,
        limit=limit,
        batch_size=batch_size,
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    done = run_job(
        run,
        flow,
        lambda sink: partial(
            step, stylist=load("stylist", backend), save=saver(sink.picture_path, ".png")
        ),
        folder=True,
    )
    write_views(done.records, sheet, page, title=f"Restyled: {output}")
    return done.code


def _one(inputs: list[str] | None, content: str | None, prompt: str | None) -> dict[str, Any]:
    from megastyle_cli.stream.single import one_record

    if content is None and prompt is None and not inputs:
        raise MegastyleError("there is nothing to restyle", hint="give --content PICTURE")
    record = one_record([content] if content else inputs or []) if content or inputs else {}
    return {**record, **({"content": prompt} if prompt else {})}
