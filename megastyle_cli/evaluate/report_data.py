"""Data for the report of a scored set: histograms of cosines, scores by style, worst images."""

from dataclasses import dataclass

import numpy as np

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.calibration import ReferenceBank, similarity_to_negatives
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.evaluate.score import STYLE
from megastyle_cli.evaluate.scored_set import Comparison, ScoredSet
from megastyle_cli.report.eval_report import Bar
from megastyle_cli.report.style_name import style_name
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.retrieval.nearest import nearest

MAX_HISTOGRAM_IMAGES, PAIRS_PER_IMAGE = 1000, 4
NUM_WORST = 24
SAME, DIFFERENT = "same style", "different styles"


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Histograms: cosines by name. Bars: the styles, best first.
    Worst: records with a `why` in words and, where there is an image to compare with, its
    `neighbor_file_name`, worst first."""

    histograms: dict[str, list[float]]
    bars: list[Bar]
    worst: list[Record]


def build_report_data(scored_set: ScoredSet, seed: int = 0) -> ReportData:
    """The figures of a set: each image against its references, or else against its own style.

    Empty if images have neither.
    """
    comparison = scored_set.compare(STYLE)
    if comparison is not None:
        own = scored_set.values("style_score")[comparison.rows]
    elif scored_set.labelled.has_groups:
        scored_set = scored_set.labelled
        comparison, own = _compare_groups(scored_set)
    else:
        return ReportData(histograms={}, bars=[], worst=[])
    bank = comparison.bank
    random = similarity_to_negatives(
        comparison.vectors, comparison.styles, bank.vectors, bank.styles
    )
    return ReportData(
        histograms=_histograms(comparison, np.random.default_rng(seed)),
        bars=_bars(scored_set, comparison.rows, own),
        worst=_worst(scored_set, comparison, own, random),
    )


def _compare_groups(scored_set: ScoredSet) -> tuple[Comparison, Array]:
    """All images as references of one another, and each image's mean cosine with the others of its
    style."""
    vectors, groups = scored_set.vectors(STYLE), scored_set.groups
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((codes.max() + 1, vectors.shape[1]))
    np.add.at(sums, codes, vectors)
    num_others = np.bincount(codes)[codes] - 1
    rows = np.flatnonzero(num_others > 0)  # (p,)
    others = sums[codes[rows]] - vectors[rows]
    own = np.einsum("pd,pd->p", others, vectors[rows], dtype=np.float64) / num_others[rows]
    bank = ReferenceBank(vectors=vectors, keys=groups, styles=groups)
    keys = [groups[row] for row in rows]
    comparison = Comparison(rows=rows, vectors=vectors[rows], keys=keys, styles=keys, bank=bank)
    return comparison, own


def _histograms(comparison: Comparison, rng: np.random.Generator) -> dict[str, list[float]]:
    """Cosines of sampled pairs of an image and a reference, of its own style and of others."""
    bank = comparison.bank
    sampled = rng.permutation(len(comparison.rows))[:MAX_HISTOGRAM_IMAGES].repeat(PAIRS_PER_IMAGE)
    code = {key: i for i, key in enumerate(dict.fromkeys([*comparison.keys, *bank.keys]))}
    keys = np.array([code[key] for key in comparison.keys])[sampled]
    bank_keys = np.array([code[key] for key in bank.keys])
    order, counts = np.argsort(bank_keys, kind="stable"), np.bincount(bank_keys)
    own = order[counts.cumsum()[keys] - 1 - (rng.random(len(keys)) * counts[keys]).astype(int)]
    same = _pair_cosines(comparison, sampled, own)
    other = rng.integers(len(bank.keys), size=len(sampled))
    styles = np.array([str(style) for style in comparison.styles])
    is_negative = styles[sampled] != np.array([str(style) for style in bank.styles])[other]
    different = _pair_cosines(comparison, sampled[is_negative], other[is_negative])
    return {name: found for name, found in {SAME: same, DIFFERENT: different}.items() if found}


def _pair_cosines(comparison: Comparison, images: Array, references: Array) -> list[float]:
    """The cosine of each distinct pair, except pairs of an image with itself."""
    pairs = np.unique(np.stack([images, references], axis=1), axis=0)
    one, other = comparison.vectors[pairs[:, 0]], comparison.bank.vectors[pairs[:, 1]]
    is_different = (one != other).any(axis=1)
    cosines = np.einsum("pd,pd->p", one[is_different], other[is_different], dtype=np.float64)
    return [round(float(cosine), 4) for cosine in cosines]


def _bars(scored_set: ScoredSet, rows: Array, scores: Array) -> list[Bar]:
    records, styles = scored_set.records, scored_set.styles
    by_style: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        by_style.setdefault(styles[row], []).append(position)
    bars = [
        Bar(
            name=style_name(first := records[rows[positions[0]]], style),
            score=float(np.mean(scores[positions])),
            number=len(positions),
            picture=str(first.get("style_file_name", first.get("file_name", ""))),
        )
        for style, positions in by_style.items()
    ]
    return sorted(bars, key=lambda bar: -bar.score)


def _worst(
    scored_set: ScoredSet, comparison: Comparison, own: Array, random: Array
) -> list[Record]:
    """The records with the smallest margin over their random baseline, each beside the image it is
    closest to."""
    margin = own - np.nan_to_num(random)
    order = np.argsort(margin, kind="stable")[:NUM_WORST]
    vectors, rows = scored_set.vectors(STYLE), comparison.rows[order]
    _, found = nearest(vectors[rows], vectors, 1, rows[:, None])
    worst = []
    for position, row, neighbor in zip(order, rows, found[:, 0], strict=True):
        record = scored_set.records[row]
        why = f"cosine {own[position]:.2f} with its style"
        if label_of(record, scored_set.label):
            why += f" ({style_name(record, scored_set.styles[row])})"
        if not np.isnan(random[position]):
            why += f", {random[position]:.2f} with others"
        neighbor_record = scored_set.records[neighbor] if neighbor >= 0 else {}
        if neighbor >= 0 and scored_set.groups[neighbor] != scored_set.groups[row]:
            why += f"; nearest image: {style_name(neighbor_record, scored_set.styles[neighbor])}"
        file_name = record.get("style_file_name", neighbor_record.get("file_name"))
        worst.append({**record, "why": why, "neighbor_file_name": file_name})
    return worst
