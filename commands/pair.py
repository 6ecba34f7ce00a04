"""Cross styles with contents.

Examples:

  megastyle pair styles.jsonl --contents contents.jsonl -o pairs.jsonl
  megastyle cluster styles.jsonl --sample 100 | megastyle pair --contents photos/ --per-style 4
  megastyle pair styles.jsonl --contents photos/ --per-style 6 --seed 1 | megastyle synth -o synth/

Every style is drawn with --per-style different contents (the paper's 8), uniformly over all.
A style's draw depends on the seed, its id and the number of contents alone; with --max-uses also
on the styles before it. How evenly the contents are used is printed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megastyle_cli.cli import options
from megastyle_cli.core.errors import MegastyleError

if TYPE_CHECKING:
    from megastyle_cli.io.spool import Spool
    from megastyle_cli.runner.progress import Stats


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
        int,
        typer.Option(
            "--per-style", "--contents-per-style", metavar="N", min=1, help="Contents a style."
        ),
    ] = 8,
    max_uses: Annotated[
        int | None,
        typer.Option(
            metavar="M", min=1, show_default=False, help="Use no content more often than that."
        ),
    ] = None,
    ids: Annotated[
        Literal["parents", "official"],
        typer.Option(
            metavar="parents|official",
            help="What pairs are called: by their parents' ids, or s1_c1 by their places.",
        ),
    ] = "parents",
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
    from megastyle_cli.core.record import Run
    from megastyle_cli.pair.pair import (
        check_content,
        check_style,
        coverage,
        distinct_rows,
        draw_all,
        pair_all,
        told,
    )
    from megastyle_cli.runner.callbacks import Flow, pack_side_input, run_barrier

    if not contents:
        raise MegastyleError("pair needs contents", hint="give --contents contents.jsonl")
    bank = pack_side_input(contents, check=check_content)
    if not bank:
        raise MegastyleError(f"{', '.join(contents)}: no contents", hint="check --contents")
    asked: dict[str, Any] = {"per_style": per_style, "seed": seed, "contents": len(bank)}
    if max_uses is not None:
        asked["max_uses"] = max_uses
    if ids != "parents":
        asked["ids"] = ids
    run = Run("pair", asked, __version__)

    def work(spool: "Spool", tally: "Stats") -> Iterator[dict[str, Any]]:
        names = [record["id"] for record in spool.read()]
        rows = distinct_rows(names)
        draws = draw_all([names[row] for row in rows], len(bank), per_style, seed, max_uses)
        tally.remarks += told(draws, len(bank), per_style)
        tally.measured["coverage"] = vars(coverage(draws, len(bank)))
        return pair_all(spool.read(rows), bank, draws, ids=ids, facts={"run": run.key})

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
