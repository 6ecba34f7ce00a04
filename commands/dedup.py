"""Drop exact, near and semantic duplicates; one of each stays, the first unless --keep.

Examples:

  megastyle caption imgs/ | megastyle dedup -o styles.jsonl
  megastyle dedup captions.jsonl --on content -o contents.jsonl --rejected gone.jsonl
  megastyle dedup captions/ --no-semantic --report groups.json -o styles.jsonl
  megastyle dedup captions.jsonl --preset nemo --keep hard -o styles.jsonl

Three measures, in this order: exact (the same text but for case, width and spaces), near (shared
n-grams, found by MinHash and then compared one by one) and semantic (cosine of text embeddings).
A record goes only if it is close enough to a record that stays: no chains. --rejected tells for
each that went: for whom, how, and how close; --report shows the largest groups.

Presets. styles: near is 72 % of words in common. Up to 20 words that a fifth of all texts have, a
template's, count only where they differ, so that one attribute in a short caption counts and one
word of a prompt of 40 does not: a word swapped, dropped, misspelt or moved in drawn prompts is
found (recall over 0.999 of each), and of 1,376 captions of real pictures 224 go (same words in
another order 84, one word more 95), where plain words would take 975. In a pool of prompts of one
template up to some 25 words long, one other word makes another prompt. contents: 82 % of runs of
three characters, since another word in a short content is another content (2 % of those go), but a
plural (84 % go), an article (80 %) or a wrong letter (55 %) is none. nemo: the numbers of
NeMo-Curator 1.x, shingles of 24 characters in 20 x 13 hashes, candidates not compared, then MiniLM
at 0.99; it finds next to nothing in contents of six words.

--embedder static takes the mean of token vectors, thousands of texts a second; verified has its
pairs from 0.85 on compared by a sentence model; sentence embeds every text with that, on the GPU if
there is one. Up to 100,000 texts are compared all with all; among more, close ones are looked for
in cells, and the last lines say how many of the pairs of a sample of texts that found: at least
--semantic-recall of them. A mean of token vectors knows no order: to static, "a dog chases a cat"
and "a cat chases a dog" are the same.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megastyle_cli.cli import options
from megastyle_cli.cli import resolve_backend as backends
from megastyle_cli.core.choices import DedupPreset, EmbedderName, ExactText, KeepPolicy, NgramUnit

if TYPE_CHECKING:
    from megastyle_cli.compute.string_array import StringArray
    from megastyle_cli.io.spool import Spool
    from megastyle_cli.runner.progress import Stats


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
        NgramUnit | None,
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
    semantic_recall: Annotated[
        float,
        typer.Option(
            metavar="R",
            min=0,
            max=1,
            help="Least share of close pairs to find among over 100,000 texts; 1 compares all.",
        ),
    ] = 0.99,
    embedder: Annotated[
        EmbedderName | None,
        typer.Option(
            metavar="static|verified|sentence",
            help="Token vectors, those checked by a sentence model, or that alone;"
            " default: static, or sentence with --model or --preset nemo.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        KeepPolicy,
        typer.Option(
            metavar="first|longest|hard|easy",
            help="Which of the like stays: hard is farthest from its cluster's centroid.",
        ),
    ] = "first",
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the stages and largest groups.", show_default=False
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
    cache: options.Cache = None,
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
    from megastyle_cli.core.record import Run, check_text
    from megastyle_cli.dedup.config import resolve_config
    from megastyle_cli.dedup.deduplicate import collect_signatures, find_duplicates
    from megastyle_cli.dedup.parallel_embed import parallel_embed
    from megastyle_cli.dedup.report import (
        build_report,
        count_stages,
        kept_metadata,
        rejected_metadata,
    )
    from megastyle_cli.dedup.semantic import TextSource
    from megastyle_cli.io.raw_jsonl.annotate import read_annotated
    from megastyle_cli.runner.callbacks import (
        Flow,
        Look,
        refuse_side_outputs,
        run_barrier,
        write_all,
        write_report,
    )
    from megastyle_cli.runner.progress import Stage

    named = options.inputs_or_stdin(inputs, context)
    opened = backends.open_engine(engine, workers, named)
    rung, models = backends.rung(embedder, backend, model, is_nemo=preset == "nemo")
    config = resolve_config(
        preset or ("contents" if on == "content" else "styles"),
        exact=exact,
        exact_text=exact_text,
        near=near,
        near_threshold=near_threshold,
        ngram=ngram,
        ngram_of=ngram_of,
        semantic=semantic,
        semantic_threshold=semantic_threshold,
        semantic_recall=semantic_recall,
        embedder=rung,
        keep=keep,
    )
    told = {"on": on, **config.as_dict(), "embedder": models if semantic else None}
    run = Run("dedup", told, __version__)
    facts = {"run": run.key, "on": on}
    closing = ExitStack()
    running = lru_cache(lambda: closing.enter_context(opened()))  # once, when it is needed
    signatures: list[Any] = []

    def look(texts: "Iterator[StringArray]") -> None:
        signatures.append(collect_signatures(texts, config, running()))

    def work(spool: "Spool", tally: "Stats") -> Iterator[dict[str, Any] | bytes]:
        progress = closing.enter_context(Stage("dedup", quiet=quiet, to_stdout=output == "-"))
        parallel = partial(parallel_embed, engine=running(), progress=progress)
        embedders = [
            backends.kept_embedder(
                *named, cache, closing, spread=parallel, advance=progress.advance
            )
            for named in (models if semantic else [])
        ]
        texts = TextSource(spool, on)
        decisions = find_duplicates(signatures[0], config, texts, embedders, running(), progress)
        progress.close()
        stages = count_stages(decisions, config)
        for stage in stages:
            tally.measured[stage.stage] = {
                **{"in": stage.seen, "out": stage.seen - stage.removed},
                "seconds": round(stage.seconds, 3),
            }
        if semantic:
            tally.measured["semantic"] |= decisions.search.as_dict()
        removed = " \u00b7 ".join(f"{s.stage} {s.removed:,}" for s in stages)
        tally.remarks.append(f"removed: {removed or 'nothing, no measure was asked for'}")
        tally.remarks += decisions.search.remarks()
        kept = kept_metadata(decisions, **facts)
        yield from read_annotated(spool, decisions.kept_rows(), "dedup", *kept)
        # last, so that none of these has its name while the output can still come to nothing
        if rejected is not None:
            why = rejected_metadata(decisions, spool, **facts)
            dropped = read_annotated(spool, decisions.dropped_rows(), "dedup", why)
            write_all(dropped, rejected, run, overwrite=overwrite)
        if report is not None:
            write_report(report, build_report(decisions, stages, spool, on))

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
    refuse_side_outputs(flow, rejected, report)
    with closing:
        return run_barrier(
            run, flow, work, check=partial(check_text, key=on), look=Look(on, look)
        ).code
