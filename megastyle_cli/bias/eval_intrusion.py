"""`eval --bias --base-url`: what styles bring, by questions to a model on a server."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megastyle_cli.bias.answer_cache import kept_answers
from megastyle_cli.bias.association import halves
from megastyle_cli.bias.console import intrusion_table
from megastyle_cli.bias.image_questions import ATTEMPTS, MAX_SIDE_PX, Asker, load_server
from megastyle_cli.bias.intrusion import Intruder, Seen, above_floor, candidates, intrusion
from megastyle_cli.bias.options import BiasOptions
from megastyle_cli.bias.questions import VERSION
from megastyle_cli.bias.style_measures import Keys, check_controls, rounded_values
from megastyle_cli.captioning.options import ServerOptions
from megastyle_cli.captioning.retry import RetryingClient
from megastyle_cli.compute.significance import holm
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.evaluate.references import reference_fingerprint
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.io.images import ImageReader
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.side_input import read_side_input

EXAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The image of each content by style, the prompts of the contents, and the records of images.

    `num_repeated` are the further images of a style and content, which are not used.
    """

    names: Mapping[str, Mapping[str, str]]
    texts: Mapping[str, str]
    records: Mapping[str, Record]
    num_repeated: int = 0

    @property
    def size(self) -> int:
        """The number of images."""
        return len(self.records)


def summarize_intrusion(
    names: Sequence[str],
    options: BiasOptions,
    keys: Keys,
    server: ServerOptions,
    model: str | None,
    *,
    cache: Path | None,
    seed: int,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> int:
    """Writes the objects that each style brings into its images; the exit code.

    The model is asked about every image: to list objects, or twice for each candidate. `cache` is a
    folder that keeps its answers.
    """
    controls = options.control or []
    if not controls:
        raise MegastyleError("--bias needs --control", hint="for example --control watercolor")
    if options.nouns:
        raise MegastyleError(
            "--nouns is for --text-model", hint="a model on a server lists objects"
        )
    floor_records = list(read_side_input(options.floor or []))
    settings: Record = {**vars(keys), "controls": controls, "vlm": model, "questions": VERSION}
    settings["seed"] = seed
    if floor_records:
        settings["floor"] = reference_fingerprint(floor_records, None)
    job = summary_job(
        {"measure": "intrusion", **settings},
        names,
        intrusion_table,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan(images="listed, then asked about twice for each candidate")
    with job:
        grid, failures = read_grid(job.collect().read(), keys)
        job.write(failures)
        check_controls(controls, grid.names, keys.label)
        floor, _ = read_grid(floor_records, keys)
        client = RetryingClient(load_server(server, model), ATTEMPTS)
        reader = ImageReader(MAX_SIDE_PX, margin=1)
        with job.progress.stage() as progress, kept_answers(cache) as answers:
            asker = Asker(client, reader, answers, progress)
            rows = _measure(grid, floor, controls, asker, seed)
        job.write(
            Failure.of(grid.records[name], bad)
            for name, bad in asker.unreadable.items()
            if name in grid.records
        )
        if missing := len(set(grid.names) - set(controls)) - len(rows):
            job.stats.remarks.append(f"{missing:,} styles have no valid answers: they have no row")
        if rows and any("intrusion_low" not in row for row in rows):
            job.stats.remarks.append("too few contents for intervals: exact tests only")
        if grid.num_repeated:
            job.stats.remarks.append(
                f"{grid.num_repeated:,} further images of a style and content were not used"
            )
        invalid = dict(sorted(client.invalid_answers.items()))
        job.stats.measured["refused_answers"] = invalid
        job.stats.remarks += client.remarks()
        summary: Record = {
            "n": grid.size,
            "controls": len(controls),
            "bias": [rounded_values(row) for row in rows],
            "questions": {**asker.counts, "invalid": invalid},
            "failed": job.stats.num_failed,
        }
        notes = {"vlm": client.model.name, "questions": VERSION, "run": job.run.key}
        job.write([annotate(summary, "eval", **notes)])
    return job.exit_code


def read_grid(records: Iterable[Record], keys: Keys) -> tuple[Grid, list[Failure]]:
    """The images by style and content, and the records that lack one of the three.

    Of several images of a style and content the first is used. The prompt of a content is what a
    record has under `content`, else its label.
    """
    names: dict[str, dict[str, str]] = {}
    texts: dict[str, str] = {}
    failures: list[Failure] = []
    images: dict[str, Record] = {}
    num_repeated = 0
    for record in records:
        found = {
            key: label_of(record, key) for key in (keys.label, keys.content_label, "file_name")
        }
        missing = next((key for key, value in found.items() if value is None), None)
        if missing is not None:
            message = f"record {record['id']} has no {missing}"
            failures.append(Failure(record, "missing_key", message, missing))
            continue
        style, content, name = map(str, found.values())
        if content in names.setdefault(style, {}):
            num_repeated += 1
            continue
        names[style][content] = name
        images[name] = record
        texts.setdefault(content, label_of(record, "content") or content)
    return Grid(names=names, texts=texts, records=images, num_repeated=num_repeated), failures


def _measure(
    grid: Grid, floor: Grid, controls: Sequence[str], asker: Asker, seed: int
) -> list[Record]:
    """One row for each style that is no control and has valid answers, the largest first."""
    contents = {content for name in controls for content in grid.names[name]}
    discovery, test = halves(contents)
    listed = _listed(grid, discovery, asker)
    rows = []
    for style in sorted(set(grid.names) - set(controls)):
        if all(names is None for names in listed.get(style, {}).values()):
            continue
        found = candidates(style, listed, controls, grid.texts)
        things = [each.name for each in found]
        own, others = _seen(grid, style, controls, test, things, asker)
        row = {"style": style, **intrusion(own, others, seed)}
        if "intrusion" not in row:
            continue
        if floor.names.get(style):
            every = [content for each in floor.names.values() for content in each]
            base = _seen(floor, style, controls, sorted(set(every)), things, asker)
            row |= above_floor(own, others, *base, seed)
        row["objects"] = [_object(each, own, others) for each in found]
        shown = [grid.names[style][content] for content, each in own.items() if any(each.values())]
        row["examples"] = shown[:EXAMPLES]
        rows.append(row)
    adjusted = holm(np.array([row["p"] for row in rows]))
    for row, p in zip(rows, adjusted, strict=True):
        row["p_holm"] = float(p)
    return sorted(rows, key=lambda row: (-row["intrusion"], row["style"]))


def _listed(
    grid: Grid, contents: Sequence[str], asker: Asker
) -> dict[str, dict[str, list[str] | None]]:
    """What the model lists on the images of all styles and these contents."""
    cells = [
        (style, content)
        for style, own in grid.names.items()
        for content in contents
        if content in own
    ]
    answers = asker.objects([grid.names[style][content] for style, content in cells])
    listed: dict[str, dict[str, list[str] | None]] = {}
    for (style, content), objects in zip(cells, answers, strict=True):
        listed.setdefault(style, {})[content] = objects
    return listed


def _seen(
    grid: Grid,
    style: str,
    controls: Sequence[str],
    contents: Sequence[str],
    things: Sequence[str],
    asker: Asker,
) -> tuple[Seen, dict[str, Seen]]:
    """Which of the things are seen on the images of a style and of the controls, by content."""
    cells = [
        (name, content)
        for name in (style, *controls)
        for content in contents
        if content in grid.names.get(name, {})
    ]
    names = [grid.names[name][content] for name, content in cells]
    answers = asker.present(names, [things] * len(names))
    seen: dict[str, dict[str, dict[str, bool | None]]] = {}
    for (name, content), found in zip(cells, answers, strict=True):
        seen.setdefault(name, {})[content] = found
    return seen.get(style, {}), {name: seen.get(name, {}) for name in controls}


def _object(candidate: Intruder, own: Seen, controls: Mapping[str, Seen]) -> Record:
    """How often a candidate is seen on the test half, and its share among the controls."""
    name = candidate.name
    others = [each[name] for seen in controls.values() for each in seen.values()]
    known = [found for found in others if found is not None]
    return {
        "object": name,
        "seen": sum(bool(each[name]) for each in own.values()),
        "control_share": float(np.mean(known)) if known else 0.0,
        "listed": candidate.share,
        "listed_controls": candidate.control_share,
    }
