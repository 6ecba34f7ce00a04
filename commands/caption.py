"""Describe the style and content of pictures.

Examples:

  megastyle caption imgs/ -o captions.jsonl --resume
  megastyle caption imgs/ --kind style | megastyle dedup | megastyle cluster -o styles.jsonl
  find imgs -name '*.png' -print0 | megastyle caption -0

The builtin captioner measures: colours, light, texture, edges, outlines and strokes become the
style prompt and the style_* keys. Content is the label the record brings, else what an ImageNet
network recognises with at least --min-confidence; else it is absent.
"""

from functools import partial
from typing import Annotated

import typer

from megastyle_cli import options
from megastyle_cli.choices import Kind, Schema

DECODED_PX = 384  # pictures are decoded at this longer side; the builtin measures use less


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    kind: Annotated[Kind, typer.Option(help="What to describe.")] = "both",
    schema: Annotated[
        Schema, typer.Option(help="Sentence template: v1 (MegaStyle) or v2 (MegaStyle++).")
    ] = "v2",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, metavar="P", help="Least probability to name a content.")
    ] = 0.5,
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
    batch_size: options.BatchSize = 32,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.models.backend import load, locate
    from megastyle_cli.record import Run
    from megastyle_cli.steps.caption import caption
    from megastyle_cli.stream.images import read_pictures
    from megastyle_cli.stream.job import Flow, run_job

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
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    told = {"backend": backend, "kind": kind, "schema": schema, "min_confidence": min_confidence}
    locate("captioner", backend)
    run = Run("caption", told, __version__)
    done = run_job(
        run,
        flow,
        lambda _: partial(
            caption,
            captioner=load("captioner", backend, min_confidence=min_confidence),
            read=partial(read_pictures, max_side_px=DECODED_PX),
            kind=kind,
            schema=schema,
            run=run.key,
        ),
    )
    return done.code
