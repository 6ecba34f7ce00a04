"""`eval --benchmark --system`: scores systems query by query, and folds results into a table."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from megastyle_cli import __version__
from megastyle_cli.benchmark.folder import open_benchmark
from megastyle_cli.benchmark.markdown import markdown, warnings
from megastyle_cli.benchmark.page import write_page
from megastyle_cli.benchmark.painters import PaintedPictures, hash_painted
from megastyle_cli.benchmark.query_results import (
    SealedSet,
    check_lines,
    is_query_result,
    rank_system,
)
from megastyle_cli.benchmark.results_table import build_table
from megastyle_cli.benchmark.systems import ORIGINALS, System, load_encoder, trained_on
from megastyle_cli.benchmark.tiers import TIERS, change_of
from megastyle_cli.benchmark.vector_cache import LoadedEncoder, encode_pictures
from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, Run, annotate
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.io.inputs import is_jsonl_input, read_records
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.writers.stream import line_for
from megastyle_cli.models.registry import load
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.side_input import read_side_input

NEAR_BY_PROMPT = "the builtin text embedder on style prompts"
NEAR_BY_COLOR = "color histograms"


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run of a benchmark is asked for.

    `judge` is the encoder that compares painters' pictures with the benchmark's.
    """

    systems: Sequence[System]
    judge: System
    tiers: Sequence[str]
    ks: Sequence[int]
    seed: int
    cache: Path | None = None
    hardware: dict[str, str] = field(default_factory=dict)  # device and dtype of models

    @property
    def options(self) -> Record:
        """What changes the results, for the run key."""
        judge = {} if self.systems[0].kind == "encoder" else {"judge": self.judge.identity}
        systems = [system.identity for system in self.systems]
        return {"systems": systems, "tiers": list(self.tiers), "ks": list(self.ks), **judge}


def check_tiers(tiers: Sequence[str]) -> list[str]:
    """The tiers named, each once. Raises MegastyleError if there is no such tier."""
    for tier in tiers:
        if tier not in TIERS:
            raise MegastyleError(f"there is no tier {tier!r}", hint=f"choose {', '.join(TIERS)}")
    return list(dict.fromkeys(tiers)) or ["plain"]


def holds_query_results(names: Sequence[str]) -> bool:
    """Whether the first input is a file of results by query."""
    if not names or not is_jsonl_input(names[0]) or not Path(names[0]).is_file():
        return False
    first = next(iter(read_records(names[:1])), None)
    return isinstance(first, dict) and is_query_result(first)


def run_benchmark(
    folder: Path,
    settings: RunSettings,
    *,
    each: bool,
    table: Path | None,
    page: Path | None,
    as_json: bool,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
) -> int:
    """Scores the systems on the benchmark in `folder`: its results by query if `each`, else the
    table of them; the exit code."""
    sealed_settings, records = open_benchmark(folder)
    sealed = SealedSet(records, sealed_settings)
    benchmark = {"benchmark": sealed_settings.hash, "seed": settings.seed}
    run = Run("eval", {**benchmark, **settings.options, "each": each}, __version__)
    line = dump_line if each else line_for(output.output, markdown, as_json=as_json)
    job = CollectJob(
        run,
        Source(inputs=[str(folder)]),
        output=output,
        existing=existing,
        report=report,
        line=line,
        is_summary=not each,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        job.collect()
        lines = check_lines(_all_lines(sealed, settings, run.key))
        _write(job, lines, settings.seed, each=each, table=table, page=page)
    return job.exit_code


def fold_results(
    names: Sequence[str],
    seed: int,
    *,
    table: Path | None,
    page: Path | None,
    as_json: bool,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
) -> int:
    """Writes the table of results by query, which may be of several runs; the exit code."""
    job = summary_job(
        {"fold": True, "seed": seed},
        names,
        markdown,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan()
    with job:
        records = list(job.collect().read())
        if other := next((r for r in records if not is_query_result(r)), None):
            raise MegastyleError(
                f"record {other['id']} is no result of a query of a benchmark",
                hint="give only files that eval --benchmark --each wrote",
            )
        _write(job, check_lines(records), seed, each=False, table=table, page=page)
    return job.exit_code


def _write(
    job: CollectJob,
    lines: list[Record],
    seed: int,
    *,
    each: bool,
    table: Path | None,
    page: Path | None,
) -> None:
    found = annotate(build_table(lines, seed=seed), "eval", run=job.run.key)
    job.write(lines if each else [found])
    if not each:
        job.stats.remarks += [warning.rstrip(".") for warning in warnings(found)]
    if table is not None:
        atomic_write(table, markdown(found))
    if page is not None:
        write_page(page, found, lines)


def _all_lines(sealed: SealedSet, settings: RunSettings, run: str) -> Iterator[Record]:
    if "within-group" in settings.tiers and sealed.settings.group is None:
        raise MegastyleError(
            "tier within-group needs a benchmark with groups", hint="make it with --group KEY"
        )
    near, near_by = _near(sealed, settings)
    facts = {
        "run": run,
        "benchmark": sealed.settings.hash,
        "recipe": sealed.settings.recipe,
        "group_key": sealed.settings.group,
        "near": near_by,
    }
    facts = {key: value for key, value in facts.items() if value is not None}
    if settings.systems[0].kind == "painter":
        yield from _painter_lines(sealed, settings, near, facts)
        return
    for system in settings.systems:
        loaded = load_encoder(system, settings.hardware)
        fitted = trained_on(system, loaded.encoder)
        vectors_for = _encoded_once(sealed, loaded, settings.cache)
        for tier in settings.tiers:
            vectors = vectors_for(change_of(tier))
            lines = rank_system(sealed, tier, vectors, settings.ks, near=near)
            yield from _named(lines, system, loaded, fitted, facts)


def _painter_lines(
    sealed: SealedSet, settings: RunSettings, near: Array | None, facts: Record
) -> Iterator[Record]:
    judge = load_encoder(settings.judge, settings.hardware)
    fitted = trained_on(settings.judge, judge.encoder)
    facts = {**facts, "judge": settings.judge.name}
    vectors_for = _encoded_once(sealed, judge, settings.cache)
    for system in settings.systems:
        hashes, files = _painted(sealed, system)
        per_query = max(map(len, hashes.values()))
        for tier in settings.tiers:
            change = change_of(tier)
            vectors = vectors_for(change)
            found = encode_pictures(files, judge, change=change, cache=settings.cache)
            missing = np.full(vectors.shape[1], np.nan)
            by_query = {
                query: [found.get(pixels, missing) for pixels in own]
                for query, own in hashes.items()
            }
            painted = PaintedPictures(vectors=by_query, per_query=per_query)
            lines = rank_system(sealed, tier, vectors, settings.ks, near=near, painted=painted)
            yield from _named(lines, system, judge, fitted, facts)


def _encoded_once(
    sealed: SealedSet, loaded: LoadedEncoder, cache_folder: Path | None
) -> Callable[[str], Array]:
    """The vectors of the records by the change of their pictures: tiers that are masks share one
    set."""
    return cache(lambda change: sealed.encode(loaded, change, cache_folder))


def _painted(sealed: SealedSet, system: System) -> tuple[dict[int, list[str]], dict[str, str]]:
    """The pixel hashes of a painter's pictures by query, and a file for each."""
    queries = sealed.labels.queries.tolist()
    if system.pictures == ORIGINALS:
        hashes = {query: [sealed.hashes[query]] for query in queries}
        return hashes, {pixels: sealed.names[pixels] for (pixels,) in hashes.values()}
    cells = {(sealed.styles[query], sealed.contents[query]): query for query in queries}
    records = list(read_side_input([system.pictures]))
    label, content_label = sealed.settings.label, sealed.settings.content_label
    hashes, files, _ = hash_painted(records, label, content_label, cells, system.pictures)
    return hashes, files


def _named(
    lines: Iterator[Record],
    system: System,
    loaded: LoadedEncoder,
    fitted: frozenset[str] | None,
    facts: Record,
) -> Iterator[Record]:
    """The lines with the name of their system and what is known of it."""
    for line in lines:
        more: dict[str, Any] = {"system": system.name}
        if fitted is not None:
            more["fitted"] = not fitted.isdisjoint((line["style_id"], line["group"]))
        yield annotate({**line, **more}, "eval", **facts, fingerprint=loaded.fingerprint)


def _near(sealed: SealedSet, settings: RunSettings) -> tuple[Array | None, str | None]:
    """Which styles are near each other, if that tier is asked for, and by what they were chosen."""
    if "near" not in settings.tiers:
        return None, None
    prompts = [record.get("style") for record in sealed.records]
    if all(isinstance(prompt, str) and prompt for prompt in prompts):
        embedder = load("text_embedder", "builtin")
        distinct = list(dict.fromkeys(map(str, prompts)))
        rows = dict(zip(distinct, embedder.embed(distinct), strict=True))
        return sealed.near(np.stack([rows[str(prompt)] for prompt in prompts])), NEAR_BY_PROMPT
    judge = load_encoder(System(name="near", kind="encoder", backend="colors"))
    return sealed.near(sealed.encode(judge, "", settings.cache)), NEAR_BY_COLOR
