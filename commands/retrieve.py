"""Find pictures by style.

Examples:

  megastyle retrieve query.jpg --index gallery/
  megastyle retrieve queries/ --index synth/metadata.jsonl --top 5 -o found.jsonl --page found.html
  megastyle caption imgs/ | megastyle retrieve --index imgs/ --top 3

Each query record gets `neighbors`: id, score (cosine in [-1, 1]) and file_name, best first. The
builtin encoder is a weight-free style descriptor: statistics of colour, edges and texture.
"""

from functools import partial
from typing import Annotated

import typer

from megastyle_cli import options

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
    batch_size: options.BatchSize = 32,
    sheet: options.Sheet = None,
    page: options.Page = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    raise NotImplementedError
