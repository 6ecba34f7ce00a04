"""The summary of a scored set: scores with intervals, random baselines, retrieval, diversity."""

from collections.abc import Sequence

import numpy as np

from megastyle_cli.benchmark.selection import QUERY
from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.calibration import ReferenceBank, calibrate, similarity_to_negatives
from megastyle_cli.evaluate.config import SummaryConfig
from megastyle_cli.evaluate.diversity import diversity
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.evaluate.metrics import (
    bootstrap_interval,
    query_scores,
    random_scores,
    retrieval_scores,
    within_between_similarity,
)
from megastyle_cli.evaluate.score import STYLE, TEXT
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.retrieval.embed import Array

DIGITS = 4
CSLS_ROWS = 50_000  # more would add minutes to hours: its cost grows with the square


def summarize(
    scored_set: ScoredSet, config: SummaryConfig, prompt_vectors: Array | None = None
) -> Record:
    """The measures of a scored set, rounded to 4 digits; those that do not apply are absent.

    `style_score`, `prototype_score`, `text_score`, `prompt_loss` and `content_similarity` are means
    over the records that have one; `random_*` is the mean score with negatives (references of
    other styles, prompts of other records). `csls_score` is the style score by CSLS.
    `spread_references` is the mean cosine of two references of one image; `references` counts
    them all. `content_leakage` (ours) is content_similarity less that with negatives: how much of
    its references' content an image copied; only where the content model is at hand.

    Where at least two records share the label of a style: recall_k, map_csd_k (CSD's mean
    precision over ranks) and map_k (textbook average precision), csls_recall_k and csls_map_k (the
    same, ranked by CSLS, for at most CSLS_ROWS images), leave-one-out, among images of
    other contents if records have one; records without either, where others have it, and copies of
    a picture are left out and counted (`without_style`, `without_content`, `copies`). `random_*` is
    the exact expectation of a random ranking;
    `same_content_1` is the share of nearest neighbours with the query's content but another style;
    `spread_within` and `spread_between` are mean cosines.

    mpd, vendi and mnnd are those of `evaluate.diversity`, of the images and of the distinct prompts
    `prompt_vectors` (p, d). `*_low` and `*_high` bound the 95 % bootstrap interval over styles, or
    over images if there is a single style; a single image has none.
    """
    summary: Record = {"n": len(scored_set.records)}
    summary |= _style(scored_set, config.seed)
    summary |= _text(scored_set, config.seed)
    summary |= _content(scored_set, config.seed)
    labelled = scored_set.labelled
    if labelled.scored:
        summary |= _left_out(scored_set, config)
    if labelled.has_groups:
        summary |= _retrieval(labelled, config)
        within, between = within_between_similarity(labelled.vectors(STYLE), labelled.groups)
        summary |= {"spread_within": _round(within), "spread_between": _round(between)}
    if config.diversity:
        vectors = scored_set.vectors(STYLE)
        summary |= {name: _round(value) for name, value in diversity(vectors).items()}
    if config.benchmark is not None:
        summary["benchmark"] = config.benchmark
    if prompt_vectors is not None:
        summary["prompts"] = len(prompt_vectors)
        summary |= {f"{name}_prompts": _round(v) for name, v in diversity(prompt_vectors).items()}
    return summary


def _style(scored_set: ScoredSet, seed: int) -> Record:
    scores = scored_set.values("style_score")
    part = _mean("style_score", scores, scored_set.styles, seed)
    comparison = scored_set.compare(STYLE)
    if comparison is not None:
        calibration = calibrate(
            comparison.vectors,
            scores[comparison.rows],
            comparison.keys,
            comparison.styles,
            comparison.bank,
        )
        styles = [scored_set.styles[row] for row in comparison.rows]
        part |= _random_mean("style_score", calibration.random)
        part |= _mean("csls_score", calibration.csls, styles, seed)
        part |= _random_mean("csls_score", calibration.random_csls)
        part |= _among_references(comparison.bank)
    prototype_scores = scored_set.values("prototype_score")
    part |= _mean("prototype_score", prototype_scores, scored_set.styles, seed)
    num_own = len(set(comparison.keys)) if comparison else None
    count = scored_set.provenance.get("references", num_own)
    return part | ({"references": count} if count else {})


def _among_references(bank: ReferenceBank) -> Record:
    """The mean cosine of two references of one image: the scale a style score is read against."""
    rows = [row for row, key in enumerate(bank.keys) if key is not None]
    keys = [str(bank.keys[row]) for row in rows]
    within, _ = within_between_similarity(bank.vectors[rows], keys)
    return {} if within is None else {"spread_references": _round(within)}


def _text(scored_set: ScoredSet, seed: int) -> Record:
    part = _mean("text_score", scored_set.values("text_score"), scored_set.styles, seed)
    prompted = [scored for scored in scored_set.scored if scored.prompt is not None]
    if prompted:
        texts = [str(scored.record[scored_set.models.text_key]) for scored in prompted]
        vector_of = dict(zip(texts, (scored.prompt for scored in prompted), strict=True))
        images = np.stack([scored.features[TEXT] for scored in prompted])
        bank = np.stack([prompt for prompt in vector_of.values() if prompt is not None])
        random = similarity_to_negatives(images, texts, bank, list(vector_of))
        part |= _random_mean("text_score", random)
    return part | _mean("prompt_loss", scored_set.values("prompt_loss"), scored_set.styles, seed)


def _content(scored_set: ScoredSet, seed: int) -> Record:
    similarity = scored_set.values("content_similarity")
    part = _mean("content_similarity", similarity, scored_set.styles, seed)
    role = scored_set.models.content_role
    comparison = scored_set.compare(role) if role else None
    if comparison is None:
        return part
    styles = [scored_set.styles[row] for row in comparison.rows]
    bank = comparison.bank
    random = similarity_to_negatives(
        comparison.vectors, comparison.styles, bank.vectors, bank.styles
    )
    part |= _random_mean("content_similarity", random)
    return part | _mean("content_leakage", similarity[comparison.rows] - random, styles, seed)


def _left_out(scored_set: ScoredSet, config: SummaryConfig) -> Record:
    """How many records are in no measure of retrieval, by reason; absent where there are none."""
    styles = [label_of(record, config.label) for record in scored_set.records]
    labelled = scored_set.labelled.records
    contents = [label_of(record, config.content_label) for record in labelled]
    counts = {
        "without_style": styles.count(None),
        "copies": len(styles) - styles.count(None) - len(labelled),
        "without_content": contents.count(None) if any(contents) else 0,
    }
    return {reason: count for reason, count in counts.items() if count}


def _retrieval(labelled: ScoredSet, config: SummaryConfig) -> Record:
    known = [label_of(record, config.content_label) for record in labelled.records]
    rows = [row for row, content in enumerate(known) if content is not None]
    contents = [content for content in known if content is not None] or None
    rows = rows or list(range(len(known)))
    records = [labelled.records[row] for row in rows]
    groups, vectors = [labelled.groups[row] for row in rows], labelled.vectors(STYLE)[rows]
    is_query = None
    if config.split_key is not None:
        is_query = np.array([record.get(config.split_key) == QUERY for record in records])
    other_contents = contents is not None and is_query is None
    queries, measures = query_scores(
        vectors,
        groups,
        contents,
        ks=config.ks,
        exclude_same_content=other_contents,
        is_query=is_query,
        csls=len(vectors) <= CSLS_ROWS,
    )
    random = random_scores(
        groups, contents, ks=config.ks, exclude_same_content=other_contents, is_query=is_query
    )
    num_queries = len(groups) if is_query is None else int(is_query.sum())
    part: Record = {"styles": len(set(groups)), "other_contents_only": other_contents}
    part["split"] = "leave-one-out"
    if is_query is not None:
        part["split"] = f"{num_queries} queries, {int((~is_query).sum())} gallery"
    for name, values in measures.items():
        part |= _mean(name, values, [groups[row] for row in queries], config.seed)
        part[f"random_{name}"] = _round(random[name.removeprefix("csls_")])
    if other_contents:
        all_contents = retrieval_scores(
            vectors, groups, contents, ks=config.ks, exclude_same_content=False
        )
        part["same_content_1"] = _round(all_contents["same_content_1"])
    return part | {"queries": len(queries), "without_positive": num_queries - len(queries)}


def _mean(name: str, values: Array, styles: Sequence[str], seed: int) -> Record:
    """The mean of the values that are not NaN, with its interval; empty if all are NaN.

    The bootstrap resamples styles, or images if there is only one style; a single value has no
    interval.
    """
    by_style: dict[str, list[float]] = {}
    for style, value in zip(styles, values.tolist(), strict=True):
        if not np.isnan(value):
            by_style.setdefault(style, []).append(value)
    if not by_style:
        return {}
    groups = list(by_style.values())
    if len(groups) == 1:
        groups = [[value] for value in groups[0]]
    part: Record = {name: _round(float(np.nanmean(values)))}
    if len(groups) == 1:
        return part
    low, high = bootstrap_interval(groups, seed)
    return part | {f"{name}_low": _round(low), f"{name}_high": _round(high)}


def _random_mean(name: str, values: Array) -> Record:
    """The random baseline of a measure; empty if no image has negatives."""
    known = values[~np.isnan(values)]
    return {f"random_{name}": _round(float(known.mean()))} if len(known) else {}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS) + 0.0
