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
from megastyle_cli.choices import DedupPreset, ExactText, GramOf

if TYPE_CHECKING:
    from megastyle_cli.stream.progress import Tally
    from megastyle_cli.stream.spool import Spool


def main(
    context: typer.Context,
    inputs: options.Inputs = None,
    on: Annotated[str, typer.Option(metavar="KEY", help="The text to compare.")] = "style",
    preset: Annotated[
        DedupPreset | None,
        typer.Option(
            metavar="styles|contents|nemo",
            help="Values of all measures; default: contents with --on content, else styles.",
            show_default=False,
        ),
    ] = None,
    exact: Annotated[bool, typer.Option(help="Drop texts that are the same.")] = True,
    exact_text: Annotated[
        ExactText | None,
        typer.Option(
            metavar="normalized|raw",
            help="The same but for case, width and spaces, or to the byte; default: preset's.",
            show_default=False,
        ),
    ] = None,
    near: Annotated[bool, typer.Option(help="Drop texts that are nearly the same.")] = True,
    near_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="J",
            min=0,
            max=1,
            help="Least share of n-grams in common; default: preset's.",
            show_default=False,
        ),
    ] = None,
    ngram: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Words or characters of an n-gram; default: preset's.",
            show_default=False,
        ),
    ] = None,
    ngram_of: Annotated[
        GramOf | None,
        typer.Option(
            metavar="words|characters",
            help="What n-grams are made of; default: preset's.",
            show_default=False,
        ),
    ] = None,
    semantic: Annotated[bool, typer.Option(help="Drop texts of the same meaning.")] = True,
    semantic_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="COS",
            min=-1,
            max=1,
            help="Least cosine of the embeddings; default: preset's.",
            show_default=False,
        ),
    ] = None,
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
    engine: options.Engine = "local",
    workers: options.Workers = None,
    stats: options.Stats = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> int:
    from megastyle_cli import __version__
    from megastyle_cli.record import Run, check_text
    from megastyle_cli.steps.dedup import HOWS, Dedup, chosen, count_stages
    from megastyle_cli.steps.verdicts import kept_records, rejected_records
    from megastyle_cli.stream.job import Flow, refuse_side_output, run_barrier, write_all

    if rejected is not None:
        refuse_side_output(rejected, output, overwrite=overwrite)
    named = options.inputs_or_stdin(inputs, context)
    opened = options.open_engine(engine, workers, named)
    backend = options.embedder(backend, model)
    asked = chosen(
        preset or ("contents" if on == "content" else "styles"),
        exact=exact,
        exact_text=exact_text,
        near=near,
        near_threshold=near_threshold,
        ngram=ngram,
        ngram_of=ngram_of,
        semantic=semantic,
        semantic_threshold=semantic_threshold,
    )
    told = {"on": on, **asked.told(), **({"embedder": [backend, model]} if semantic else {})}
    run = Run("dedup", told, __version__)
    facts = {"run": run.key, "on": on}
    dedup = Dedup(asked)

    def look(records: "Iterator[dict[str, Any]]") -> None:
        with opened() as running:
            dedup.digest((record[on] for record in records), running)

    def work(spool: "Spool", tally: "Tally") -> Iterator[dict[str, Any]]:
        with opened() as running:
            verdicts = dedup.judge(
                running,
                read=lambda rows: (record[on] for record in spool.read(rows)),
                embed=options.load_embedder(backend, model).embed if semantic else None,
            )
        stages = count_stages(verdicts, [how for how in HOWS if getattr(asked, how) is not None])
        for stage in stages:
            left = stage.seen - stage.removed
            tally.measured[stage.how] = {"in": stage.seen, "out": left}
        removed = " \u00b7 ".join(f"{s.how} {s.removed:,}" for s in stages)
        tally.remarks.append(f"removed: {removed or 'nothing, no measure was asked for'}")
        if rejected is not None:
            keepers = (record["id"] for record in spool.read(verdicts.keepers()))
            gone = rejected_records(spool.read(verdicts.gone()), keepers, verdicts, **facts)
            write_all(gone, rejected, run, overwrite=overwrite)
        yield from kept_records(spool.read(verdicts.staying()), verdicts, **facts)

    flow = Flow(
        inputs=named,
        output=output,
        errors=errors,
        max_errors=max_errors,
        overwrite=overwrite,
        limit=limit,
        stats=stats,
        dry_run=dry_run,
        quiet=quiet,
    )
    return run_barrier(run, flow, work, check=partial(check_text, key=on), look=look).code
