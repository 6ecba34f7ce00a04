"""Render pairs to pictures, one style over many contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl | megastyle synth -o synth/
  megastyle synth pairs.jsonl -o synth/ --resume --page synth.html
  megastyle synth pairs.jsonl -o synth/ --shard 3/64
  megastyle synth pairs.jsonl -o synth/ --format webdataset --picture-format jpg --quality 95

The builtin painter is neural style transfer on a CPU: it renders the content picture of each pair
in the style of the pair's style picture. A pair without both is an error record.

Pictures are files beside metadata.jsonl (an ImageFolder), or with --format lie in it as samples of
WebDataset tars or rows of parquet files with the columns of the official releases.
"""

from functools import partial
from typing import Annotated

import typer

from megastyle_cli import options
from megastyle_cli.errors import MegastyleError

STYLE_PX = 512  # style pictures are decoded at this longer side


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    size: Annotated[
        int, typer.Option(metavar="PX", min=32, max=4096, help="Longer side of the pictures.")
    ] = 512,
    strength: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="S", help="0: the content picture; 1: full style."),
    ] = 1.0,
    format_: options.Format = "folder",
    picture_format: options.PicturesAs = "png",
    quality: options.Quality = None,
    shard_size: options.ShardSize = 1000,
    output: options.FolderOutput = None,
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
    from megastyle_cli.steps.synth import synth
    from megastyle_cli.stream.images import read_pictures, remembering_reader, saver
    from megastyle_cli.stream.job import Flow, run_job
    from megastyle_cli.stream.pictures import Layout
    from megastyle_cli.view.show import check_views, write_views

    if output is None or output == "-":
        raise MegastyleError("synth makes a folder of pictures", hint="give -o DIRECTORY")
    layout = Layout(
        container=format_,
        picture_format=picture_format,
        quality=quality,
        num_per_shard=shard_size,
    )
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
        keep=bool(sheet or page),
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
        layout=layout,
    )
    told = {
        "backend": backend,
        "size": size,
        "strength": strength,
        "seed": seed,
        **layout.told(),
    }
    check_views(sheet, page)
    locate("painter", backend)
    run = Run("synth", told, __version__)
    done = run_job(
        run,
        flow,
        lambda sink: partial(
            synth,
            painter=load("painter", backend),
            read_content=partial(read_pictures, max_side_px=size),
            read_style=remembering_reader(STYLE_PX, remembered=64),
            save=saver(sink.picture_path, layout.suffix, quality),
            long_side_px=size,
            strength=strength,
            seed=seed,
            run=run.key,
        ),
        folder=True,
    )
    write_views(done.records, sheet, page, title=f"Rendered: {output}")
    return done.code
