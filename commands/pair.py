"""Cross styles with contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl -o pairs.jsonl
  megastyle cluster styles.jsonl --sample 100 | megastyle pair --contents photos/ --per-style 4
  megastyle pair styles.jsonl --contents photos/ --per-style 6 --seed 1 | megastyle synth -o synth/

Every style is drawn with --per-style different contents (the paper's 8), uniformly over all.
A style's draw depends on the seed, its id and the number of contents alone.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli import options
from megastyle_cli.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.stream.spool import Spool


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    contents: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="Content records or pictures: file or folder; may be repeated.",
        ),
    ] = None,
    per_style: Annotated[
        int, typer.Option("--per-style", metavar="N", min=1, help="Contents a style.")
    ] = 8,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    overwrite: options.Overwrite = False,
    limit: options.Limit = None,
    seed: options.Seed = 0,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run
    from megastyle_cli.steps.pair import check_content, check_style, distinct_rows, pair_all
    from megastyle_cli.stream.job import Flow, read_side_input, run_barrier

    if not contents:
        raise MegastyleError("pair needs contents", hint="give --contents contents.jsonl")
    bank = read_side_input(contents, check=check_content)
    bank = [bank[row] for row in distinct_rows(record["id"] for record in bank)]
    if not bank:
        raise MegastyleError(f"{', '.join(contents)}: no contents", hint="check --contents")
    run = Run("pair", {"per_style": per_style, "seed": seed, "contents": len(bank)}, __version__)

    def work(spool: "Spool", tally: "Tally") -> Iterator[dict[str, Any]]:
        rows = distinct_rows(record["id"] for record in spool.read())
        return pair_all(
            spool.read(rows),
            bank,
            per_style=per_style,
            seed=seed,
            facts={"run": run.key},
            remark=tally.remarks.append,
        )

    flow = Flow(
        inputs=options.inputs_or_stdin(inputs, context),
        output=output,
        errors=errors,
        max_errors=max_errors,
        overwrite=overwrite,
        limit=limit,
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    return run_barrier(run, flow, work, check=check_style).code
