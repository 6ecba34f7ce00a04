"""Measures of images against their references: style scores, leakage, OneIG's maximum."""

from collections.abc import Sequence

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, record_seed
from megastyle_cli.evaluate.calibration import ReferenceBank, similarity_to_negatives
from megastyle_cli.evaluate.metrics import within_between_similarity
from megastyle_cli.evaluate.references import pairing_key
from megastyle_cli.evaluate.scored_set import Comparison, ScoredSet
from megastyle_cli.paper_protocols.encoded_set import compared
from megastyle_cli.paper_protocols.intervals import mean_of, rounded
from megastyle_cli.retrieval.embed import Array

ONEIG_REFERENCES = 3  # as many as OneIG-Bench has of a style: more of them give higher maxima


def style_score(images: ScoredSet, seed: int, factor: float = 1.0) -> Record:
    """The mean cosine of images with their references, times `factor`.

    `random` is that with references of other styles, `ceiling` that of two references of one style,
    and `relative` (value - random) / (ceiling - random).
    """
    comparison = compared(images)
    found = mean_of(_own(images, comparison), _styles(images, comparison), seed, factor)
    random, ceiling = _mean(_random(comparison)), _ceiling(comparison.bank)
    if random is not None:
        found["random"] = rounded(random * factor)
    if ceiling is not None:
        found["ceiling"] = rounded(ceiling * factor)
        if random is not None and ceiling > random:
            value = found["value"] / factor
            found["relative"] = rounded((value - random) / (ceiling - random))
    return found | {"images": len(comparison.rows)}


def leakage(images: ScoredSet, seed: int) -> Record:
    """How much closer images are to their references than to those of other styles.

    Raises MegastyleError if there are no references of other styles.
    """
    comparison = compared(images)
    own, random = _own(images, comparison), _random(comparison)
    if _mean(random) is None:
        raise MegastyleError(
            "leakage needs references of other styles", hint="add --others with such images"
        )
    found = mean_of(own - random, _styles(images, comparison), seed)
    return found | {
        "similarity": rounded(float(own.mean())),
        "random": rounded(float(np.nanmean(random))),
        "images": len(comparison.rows),
    }


def oneig(sets: Sequence[ScoredSet], prompt_key: str, seed: int) -> Record:
    """OneIG-Bench's style score: the highest cosine with 3 references of the style.

    `sets` hold the same images by each encoder, with the references of `three_of_each`. Negative
    maxima count as 0; encoders are averaged, then the pictures of a style and prompt, then all of
    these. `mean_of_references` is the same with the mean of the three cosines in place of the
    highest. The images of a style with fewer references are left out and counted. Raises
    MegastyleError if every style has fewer. Source: OneIG-Bench, `style_score.py`.
    """
    comparisons = [compared(images) for images in sets]
    cosines = np.array([_with_three(each) for each in comparisons])  # (encoders, 2, n)
    highest, average = np.maximum(cosines, 0).mean(axis=0)
    known = np.flatnonzero(~np.isnan(highest))
    if not len(known):
        raise MegastyleError(
            f"no style has {ONEIG_REFERENCES} references",
            hint="give them by --reference PATH --pair-by KEY",
        )
    styles = _styles(sets[0], comparisons[0])
    records = [sets[0].records[row] for row in comparisons[0].rows]
    prompts = [
        str(record.get(prompt_key) or record.get("content_file_name") or record["id"])
        for record in records
    ]
    cells: dict[tuple[str, str], list[int]] = {}
    for row in known.tolist():
        cells.setdefault((styles[row], prompts[row]), []).append(row)
    by_cell = np.array([highest[rows].mean() for rows in cells.values()])
    of_means = np.array([average[rows].mean() for rows in cells.values()])
    found = mean_of(by_cell, [style for style, _ in cells], seed)
    found["mean_of_references"] = rounded(float(of_means.mean()))
    found |= {"references": ONEIG_REFERENCES, "prompts": len(cells), "images": len(known)}
    left_out = len(highest) - len(known)
    return found | ({"left_out": left_out} if left_out else {})


def three_of_each(references: Sequence[Record], pair_by: str | None) -> list[Record]:
    """Three references of each style, those with the lowest hashes of their ids, in order.

    References with one value under `pair_by` are of one style, as in `load_references`.
    """
    by_style: dict[str | None, list[Record]] = {}
    for record in references:
        by_style.setdefault(pairing_key(record, pair_by), []).append(record)
    chosen = {
        id(record)
        for own in by_style.values()
        for record in sorted(own, key=lambda each: (record_seed(0, each["id"]), each["id"]))[
            :ONEIG_REFERENCES
        ]
    }
    return [record for record in references if id(record) in chosen]


def _with_three(comparison: Comparison) -> tuple[Array, Array]:
    """The highest and the mean cosine (n,) with three references; NaN where there are fewer."""
    rows: dict[str | None, list[int]] = {}
    for row, style in enumerate(comparison.bank.styles):
        rows.setdefault(style, []).append(row)
    highest, average = np.full((2, len(comparison.rows)), np.nan)
    for row, style in enumerate(comparison.styles):
        if len(rows.get(style, ())) == ONEIG_REFERENCES:
            cosines = comparison.bank.vectors[rows[style]] @ comparison.vectors[row]
            highest[row], average[row] = cosines.max(), cosines.mean(dtype=np.float64)
    return highest, average


def _own(images: ScoredSet, comparison: Comparison) -> Array:
    return images.values("style_score")[comparison.rows]


def _styles(images: ScoredSet, comparison: Comparison) -> list[str]:
    return [images.styles[row] for row in comparison.rows]


def _random(comparison: Comparison) -> Array:
    bank = comparison.bank
    return similarity_to_negatives(comparison.vectors, comparison.styles, bank.vectors, bank.styles)


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _ceiling(bank: ReferenceBank) -> float | None:
    rows = [row for row, style in enumerate(bank.styles) if style is not None]
    within, _ = within_between_similarity(
        bank.vectors[rows], [str(bank.styles[row]) for row in rows]
    )
    return within
