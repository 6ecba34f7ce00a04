"""What a report draws: the cosines of a set, the score of each style, the pictures that miss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.calibration import Bank, with_strangers
from megastyle_cli.evaluate.score import STYLE
from megastyle_cli.evaluate.scored_set import Compared, Gathered
from megastyle_cli.retrieve.nearest import Array, nearest

PICTURES, DRAWS = 1000, 4  # a histogram is drawn of so many pictures, each in so many pairs
WORST = 24
SAME, DIFFERENT = "same style", "different styles"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Cosines by the name of their histogram; (style, mean score, pictures), best first; records
    with `why` and, where there is a picture to compare with, `neighbor_file_name`, worst first."""

    histograms: dict[str, list[float]]
    bars: list[tuple[str, float, int]]
    worst: list[Record]


def figures(gathered: Gathered, seed: int = 0) -> Figures:
    """The figures of a set: each picture against its references, else against its own style.

    Empty where pictures have neither.
    """
    compared = gathered.against(STYLE)
    if compared is not None:
        own = gathered.numbers("style_score")[compared.rows]
    elif gathered.has_groups:
        compared, own = _by_group(gathered)
    else:
        return Figures(histograms={}, bars=[], worst=[])
    bank = compared.bank
    random = with_strangers(compared.vectors, compared.styles, bank.vectors, bank.styles)
    return Figures(
        histograms=_histograms(compared, np.random.default_rng(seed)),
        bars=_bars([gathered.styles[row] for row in compared.rows], own),
        worst=_worst(gathered, compared, own, random),
    )


def _by_group(gathered: Gathered) -> tuple[Compared, Array]:
    """All pictures as references of one another, and the mean cosine with the rest of the style."""
    vectors, groups = gathered.vectors(STYLE), gathered.groups
    numbers = np.unique(groups, return_inverse=True)[1]
    sums = np.zeros((numbers.max() + 1, vectors.shape[1]))
    np.add.at(sums, numbers, vectors)
    others = np.bincount(numbers)[numbers] - 1
    rows = np.flatnonzero(others > 0)  # (p,)
    rest = sums[numbers[rows]] - vectors[rows]
    own = np.einsum("pd,pd->p", rest, vectors[rows], dtype=np.float64) / others[rows]
    bank = Bank(vectors=vectors, keys=groups, styles=groups)
    of_rows = [groups[row] for row in rows]
    compared = Compared(rows=rows, vectors=vectors[rows], keys=of_rows, styles=of_rows, bank=bank)
    return compared, own


def _histograms(compared: Compared, rng: np.random.Generator) -> dict[str, list[float]]:
    """The cosines of drawn pairs of a picture and a reference, of its own and of other styles."""
    bank = compared.bank
    drawn = rng.permutation(len(compared.rows))[:PICTURES].repeat(DRAWS)
    number = {key: i for i, key in enumerate(dict.fromkeys([*compared.keys, *bank.keys]))}
    keys = np.array([number[key] for key in compared.keys])[drawn]
    bank_keys = np.array([number[key] for key in bank.keys])
    order, counts = np.argsort(bank_keys, kind="stable"), np.bincount(bank_keys)
    own = order[counts.cumsum()[keys] - 1 - (rng.random(len(keys)) * counts[keys]).astype(int)]
    same = _cosines(compared, drawn, own)
    other = rng.integers(len(bank.keys), size=len(drawn))
    styles = np.array([str(style) for style in compared.styles])
    is_stranger = styles[drawn] != np.array([str(style) for style in bank.styles])[other]
    different = _cosines(compared, drawn[is_stranger], other[is_stranger])
    return {name: found for name, found in {SAME: same, DIFFERENT: different}.items() if found}


def _cosines(compared: Compared, pictures: Array, references: Array) -> list[float]:
    """The cosine of each distinct pair; a picture and itself are none."""
    pairs = np.unique(np.stack([pictures, references], axis=1), axis=0)
    one, other = compared.vectors[pairs[:, 0]], compared.bank.vectors[pairs[:, 1]]
    is_pair = (one != other).any(axis=1)
    cosines = np.einsum("pd,pd->p", one[is_pair], other[is_pair], dtype=np.float64)
    return [round(float(cosine), 4) for cosine in cosines]


def _bars(styles: Sequence[str], scores: Array) -> list[tuple[str, float, int]]:
    by_style: dict[str, list[float]] = {}
    for style, score in zip(styles, scores.tolist(), strict=True):
        by_style.setdefault(style, []).append(score)
    bars = [(style, float(np.mean(found)), len(found)) for style, found in by_style.items()]
    return sorted(bars, key=lambda bar: -bar[1])


def _worst(gathered: Gathered, compared: Compared, own: Array, random: Array) -> list[Record]:
    """The records least above what they score with strangers, and what each looks like instead."""
    margin = own - np.nan_to_num(random)
    order = np.argsort(margin, kind="stable")[:WORST]
    vectors, rows = gathered.vectors(STYLE), compared.rows[order]
    _, found = nearest(vectors[rows], vectors, 1, rows[:, None])
    worst = []
    for place, row, near in zip(order, rows, found[:, 0], strict=True):
        record = gathered.records[row]
        named = f" ({gathered.styles[row]})" if gathered.label in record else ""
        words = f"cosine {own[place]:.2f} with its style{named}"
        if not np.isnan(random[place]):
            words += f", {random[place]:.2f} with others"
        beside = gathered.records[near] if near >= 0 else {}
        if near >= 0 and gathered.groups[near] != gathered.groups[row]:
            words += f"; nearest picture: {gathered.styles[near]}"
        picture = record.get("style_file_name", beside.get("file_name"))
        worst.append({**record, "why": words, "neighbor_file_name": picture})
    return worst
