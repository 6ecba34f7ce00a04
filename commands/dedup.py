"""Drop exact, near and semantic duplicates; the first of each is kept.

Examples:

  megastyle caption imgs/ | megastyle dedup -o styles.jsonl
  megastyle dedup captions.jsonl --on content -o contents.jsonl --rejected gone.jsonl
  megastyle dedup captions/ --no-semantic --near-threshold 0.9 -o styles.jsonl

Three measures, in this order: exact (the same text but for case, width and spaces), near (shared
word n-grams, found by MinHash and then compared one by one) and semantic (cosine of text
embeddings). A record goes only if it is close enough to a record that stays. --rejected tells for
each that went: for whom, how, and how close.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli import options

if TYPE_CHECKING:
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.stream.spool import Spool


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    on: Annotated[str, typer.Option(metavar="KEY", help="The text to compare.")] = "style",
    exact: Annotated[bool, typer.Option(help="Drop texts that are the same.")] = True,
    near: Annotated[bool, typer.Option(help="Drop texts that are nearly the same.")] = True,
    near_threshold: Annotated[
        float, typer.Option(metavar="J", min=0, max=1, help="Least share of n-grams in common.")
    ] = 0.75,
    ngram: Annotated[int, typer.Option(metavar="N", min=1, help="Words of an n-gram.")] = 2,
    semantic: Annotated[bool, typer.Option(help="Drop texts of the same meaning.")] = True,
    semantic_threshold: Annotated[
        float, typer.Option(metavar="COS", min=-1, max=1, help="Least cosine of the embeddings.")
    ] = 0.99,
    rejected: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Where the dropped records go.", show_default=False),
    ] = None,
    output: options.Output = "-",
    errors: options.Errors = None,
    max_errors: options.MaxErrors = "0",
    overwrite: options.Overwrite = False,
    limit: options.Limit = None,
    backend: options.Backend = "builtin",
    model: options.Model = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run, check_text
    from megastyle_cli.steps.dedup import (
        HOWS,
        NearOptions,
        SemanticOptions,
        count_stages,
        find_duplicates,
    )
    from megastyle_cli.steps.verdicts import kept_records, rejected_records
    from megastyle_cli.stream.job import Flow, refuse_side_output, run_barrier, write_all

    if rejected is not None:
        refuse_side_output(rejected, output, overwrite=overwrite)
    backend = options.embedder(backend, model)
    told = {
        "on": on,
        "exact": exact,
        "near": [near_threshold, ngram] if near else None,
        "semantic": [semantic_threshold, backend, model] if semantic else None,
    }
    run = Run("dedup", told, __version__)
    facts = {"run": run.key, "on": on}

    def work(spool: "Spool", tally: "Tally") -> Iterator[dict[str, Any]]:
        duplicates = find_duplicates(
            [record[on] for record in spool.read()],
            exact=exact,
            near=NearOptions(threshold=near_threshold, ngram=ngram) if near else None,
            semantic=SemanticOptions(threshold=semantic_threshold) if semantic else None,
            embed=options.load_embedder(backend, model).embed if semantic else None,
        )
        wanted = {"exact": exact, "near": near, "semantic": semantic}
        hows = [how for how in HOWS if wanted[how]]
        stages = count_stages(duplicates, len(spool), hows)
        for stage in stages:
            left = stage.seen - stage.removed
            tally.measured[stage.how] = {"in": stage.seen, "out": left}
        removed = " \u00b7 ".join(f"{s.how} {s.removed:,}" for s in stages)
        tally.remarks.append(f"removed: {removed or 'nothing, no measure was asked for'}")
        if rejected is not None:
            ids = [record["id"] for record in spool.read()]
            gone = rejected_records(spool.read(), ids, duplicates, **facts)
            write_all(gone, rejected, run, overwrite=overwrite)
        yield from kept_records(spool.read(), duplicates, **facts)

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
    return run_barrier(run, flow, work, check=partial(check_text, key=on)).code
