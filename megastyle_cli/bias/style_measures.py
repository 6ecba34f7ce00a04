"""`eval --bias` and `eval --originals`: one summary over the styles of all images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.bias.association import associations
from megastyle_cli.bias.console import association_table, kept_table
from megastyle_cli.bias.kept_style import Pictures, kept_style
from megastyle_cli.bias.measure import measure_similarities
from megastyle_cli.bias.nouns import read_nouns
from megastyle_cli.bias.options import BiasOptions
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record, annotate, recorded_weights
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.evaluate.metrics import query_scores, random_scores
from megastyle_cli.evaluate.references import reference_fingerprint
from megastyle_cli.evaluate.summary_job import summary_job
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.registry import load
from megastyle_cli.retrieval.embed import Array, embed_records
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.side_input import read_side_input

DIGITS = 4
P_VALUES = ("p", "p_holm")
DECODED_PX = 384  # as `eval` opens images for the builtin encoders


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of a record's style and content."""

    label: str
    content_label: str


def summarize_bias(
    names: Sequence[str],
    options: BiasOptions,
    keys: Keys,
    text_model: str | None,
    *,
    hardware: Mapping[str, str],
    seed: int,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> int:
    """Writes the objects that each style brings into its images; the exit code.

    `hardware` are the device and type of the model, those that are given.
    """
    controls = options.control or []
    if not text_model or not controls:
        missing_option = "--control" if text_model else "--text-model or --base-url"
        raise MegastyleError(
            f"--bias needs {missing_option}",
            hint="for example --text-model openai/clip-vit-large-patch14 --control watercolor"
            " --control etching",
        )
    nouns = read_nouns(options.nouns)
    floor = list(read_side_input(options.floor or []))
    settings: Record = {
        **vars(keys),
        **recorded_weights("text_model", text_model),
        "controls": controls,
        "nouns": nouns,
        "seed": seed,
    }
    if floor:
        settings["floor"] = reference_fingerprint(floor, None)
    job = summary_job(
        {"measure": "bias", **settings},
        names,
        association_table,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan(nouns=str(len(nouns)))
    with job:
        model, reader = load("text_image", "auto", model=text_model, **hardware), ImageReader()
        found, failures = measure_similarities(
            job.collect().read(), nouns, model, reader, **vars(keys)
        )
        job.write(failures)
        check_controls(controls, found.styles, keys.label)
        base = None
        if floor:
            base, failed = measure_similarities(floor, nouns, model, reader, **vars(keys))
            job.stats.remarks += [f"floor: {failure.message}" for failure in failed[:1]]
        rows = associations(found, controls, nouns, floor=base, seed=seed)
        if any("association_low" not in row for row in rows):
            job.stats.remarks.append("too few contents for intervals: exact tests only")
        summary: Record = {"n": len(found.styles), "controls": len(controls), "nouns": len(nouns)}
        summary["bias"] = [rounded_values(row) for row in rows]
        job.write([annotate(summary, "eval", text_model=model.name, run=job.run.key)])
    return job.exit_code


def summarize_kept(
    names: Sequence[str],
    options: BiasOptions,
    keys: Keys,
    backend: str,
    model: str | None,
    *,
    hardware: Mapping[str, str],
    seed: int,
    output: OutputOptions,
    existing: ResumeOptions,
    report: ReportOptions,
    as_json: bool,
) -> int:
    """Writes how much each style keeps of its originals; the exit code. See `summarize_bias`."""
    originals = list(read_side_input(options.originals or []))
    settings: Record = {
        **vars(keys),
        "backend": backend,
        **recorded_weights("model", model),
        "originals": reference_fingerprint(originals, options.frequency_key),
        "seed": seed,
    }
    job = summary_job(
        {"measure": "kept", **settings},
        names,
        kept_table,
        output=output,
        existing=existing,
        report=report,
        as_json=as_json,
    )
    if report.dry_run:
        return job.show_plan(originals=f"{len(originals):,} images")
    with job:
        encoder = load("style_encoder", backend, **({"model": model} if model else {}), **hardware)
        reader = ImageReader() if model else ImageReader(DECODED_PX)
        rendered, failures = _embedded(job.collect().read(), encoder, reader, keys)
        job.write(failures)
        known, failures = _embedded(originals, encoder, reader, keys)
        job.stats.remarks += [f"originals: {failure.message}" for failure in failures[:1]]
        frequency = _frequencies(originals, keys.label, options.frequency_key)
        summary = kept_style(known, rendered, frequency=frequency, seed=seed)
        if not summary["styles"]:
            raise MegastyleError(
                "no style has two originals and a rendering of another content",
                hint=f"styles are read under {keys.label!r}: check --label",
            )
        if "kept_low" not in summary:
            job.stats.remarks.append("too few styles for intervals")
        summary |= _as_queries(known, rendered)
        summary = {"n": len(rendered.styles), **rounded_values(summary)}
        job.write([annotate(summary, "eval", model=encoder.name, run=job.run.key)])
    return job.exit_code


def check_controls(controls: Iterable[str], styles: Iterable[str], label: str) -> None:
    """Raises MegastyleError unless every control is one of the styles, read under `label`."""
    missing = sorted(set(controls) - set(styles))
    if missing:
        raise MegastyleError(
            f"no image has the style {missing[0]!r} of --control",
            hint=f"styles are read under {label!r}: check --label",
        )


def _embedded(
    records: Iterable[Record], encoder: Any, reader: ImageReader, keys: Keys
) -> tuple[Pictures, list[Failure]]:
    """The vectors of all records with a style, and those that have none or no image."""
    vectors: list[Array] = []
    styles: list[str] = []
    contents: list[str | None] = []
    failures: list[Failure] = []
    for result in embed_records(records, encoder, reader):
        if isinstance(result, Failure):
            failures.append(result)
            continue
        record, vector = result
        style = label_of(record, keys.label)
        if style is None:
            message = f"record {record['id']} has no {keys.label}"
            failures.append(Failure(record, "missing_key", message, keys.label))
            continue
        vectors.append(vector)
        styles.append(style)
        contents.append(label_of(record, keys.content_label))
    stacked = np.array(vectors) if vectors else np.zeros((0, 1), np.float32)
    return Pictures(vectors=stacked, styles=styles, contents=contents), failures


def _frequencies(records: Sequence[Record], label: str, key: str | None) -> dict[str, float]:
    """How often each style occurs, as its records say under `key`."""
    found: dict[str, float] = {}
    for record in records if key else ():
        style, count = label_of(record, label), record.get(str(key))
        if style is not None and isinstance(count, int | float) and not isinstance(count, bool):
            found[style] = float(count)
    return found


def _as_queries(originals: Pictures, rendered: Pictures) -> Record:
    """mAP@1 of renderings that query the originals: needs no scale of cosines."""
    styles = [*rendered.styles, *originals.styles]
    is_query = np.arange(len(styles)) < len(rendered.styles)
    vectors = np.concatenate([rendered.vectors, originals.vectors])
    contents = [content or "" for content in (*rendered.contents, *originals.contents)]
    is_known = all(contents)
    how: dict[str, Any] = {"ks": [1], "exclude_same_content": is_known, "is_query": is_query}
    _, measures = query_scores(vectors, styles, contents if is_known else None, **how)
    random = random_scores(styles, contents if is_known else None, **how)
    return {"map_1": float(measures["map_1"].mean()), "random_map_1": random["map_1"]}


def rounded_values(value: Any) -> Any:
    """The value with all its numbers rounded; a p keeps 4 digits however small it is."""
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0
    if isinstance(value, dict):
        return {
            key: float(f"{each:.4g}") if key in P_VALUES else rounded_values(each)
            for key, each in value.items()
        }
    return [rounded_values(each) for each in value] if isinstance(value, list) else value
