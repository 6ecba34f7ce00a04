"""Which things a style word brings into pictures: "Japanese painting" may bring a kimono.

Every tested style and every control renders the same neutral contents. Things are looked for by the
similarity of a picture and a noun, less that of the controls' pictures of the same content, in
standard deviations among the controls. On half of the contents the nouns are chosen that rise most
(discovery); only the other half says how far they rise (test), so that a choice among hundreds of
nouns is no finding by itself.

The encoder may see a kimono in whatever looks Japanese. Pictures of the same style that keep the
shapes of photographs, in which no kimono can appear, give that floor. Source: ours.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megastyle_cli.compute.significance import Array, holm, sign_test
from megastyle_cli.core.record import text_hash

NUM_NOUNS = 5  # that are chosen for a style
DRAWS = 2000
MIN_CONTENTS = 20  # fewer test contents give no interval


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """The similarity (n, m) of n pictures and m nouns; the style and the content of each picture.

    A picture of a style and a content that is there twice counts as their mean.
    """

    values: Array
    styles: Sequence[str]
    contents: Sequence[str]

    def table(self, style: str) -> dict[str, Array]:
        """The mean similarities (m,) for each content of a style."""
        rows: dict[str, list[int]] = {}
        for row, (name, content) in enumerate(zip(self.styles, self.contents, strict=True)):
            if name == style:
                rows.setdefault(content, []).append(row)
        return {content: self.values[found].mean(axis=0) for content, found in rows.items()}


def associations(
    pictures: Similarities,
    controls: Sequence[str],
    nouns: Sequence[str],
    *,
    floor: Similarities | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """For each style that is no control what it brings, the strongest association first.

    `association` is the mean rise of its nouns on the test contents, in standard deviations of the
    controls, with a 95 % interval over contents; `p_holm` that of the exact sign test over
    contents, adjusted for all styles. With `floor`, `floor` is the rise there and `above_floor`
    the difference. Contents without a control's picture are left out.
    """
    base = _Baseline(pictures, controls)
    floor_base = _Baseline(floor, controls) if floor else None
    found = []
    for style in sorted(set(pictures.styles) - set(controls)):
        rises = base.rises(pictures.table(style))
        discovery, test = _split(rises)
        if discovery.size == 0 or test.size == 0:
            continue
        chosen = np.argsort(-discovery.mean(axis=0), kind="stable")[:NUM_NOUNS].tolist()
        rise = test[:, chosen].mean(axis=1)  # (contents,)
        row: dict[str, Any] = {
            "style": style,
            "association": float(rise.mean()),
            **_interval("association", rise, seed),
            "p": sign_test(rise),
            "contents": len(rise),
            "nouns": [
                {"noun": nouns[number], "association": float(test[:, number].mean())}
                for number in chosen
            ],
        }
        if floor and floor_base:
            row |= _above_floor(rise, floor_base.rises(floor.table(style)), chosen, seed)
        found.append(row)
    adjusted = holm(np.array([row["p"] for row in found]))
    for row, p in zip(found, adjusted, strict=True):
        row["p_holm"] = float(p)
    return sorted(found, key=lambda row: (-row["association"], row["style"]))


class _Baseline:
    """What the controls show of each content, and how far they differ for each noun."""

    def __init__(self, pictures: Similarities, controls: Sequence[str]) -> None:
        tables = [pictures.table(name) for name in controls]
        contents = {content for table in tables for content in table}
        self.means = {
            content: np.mean([table[content] for table in tables if content in table], axis=0)
            for content in contents
        }
        residuals = [
            value - self.means[content] for table in tables for content, value in table.items()
        ]
        spread = np.std(residuals, axis=0) if residuals else np.ones(pictures.values.shape[1])
        self.spread = np.where(spread > 0, spread, np.inf)  # a noun that never varies tells nothing

    def rises(self, table: Mapping[str, Array]) -> dict[str, Array]:
        """By content, how far each noun rises above the controls."""
        return {
            content: (value - self.means[content]) / self.spread
            for content, value in table.items()
            if content in self.means
        }


def halves(contents: Iterable[str]) -> tuple[list[str], list[str]]:
    """The contents for discovery and those for the test: half each, by the hash of their names."""
    order = sorted(contents, key=lambda content: (text_hash(content), content))
    middle = len(order) // 2
    return order[:middle], order[middle:]


def _split(rises: Mapping[str, Array]) -> tuple[Array, Array]:
    one, other = (np.array([rises[content] for content in half]) for half in halves(rises))
    return one, other


def _above_floor(
    rise: Array, floor: Mapping[str, Array], chosen: Sequence[int], seed: int
) -> dict[str, Any]:
    if not floor:
        return {}
    base = np.array([floor[content] for content in sorted(floor)])[:, chosen].mean(axis=1)
    found: dict[str, Any] = {
        "floor": float(base.mean()),
        "above_floor": float(rise.mean() - base.mean()),
    }
    if min(len(rise), len(base)) >= MIN_CONTENTS:
        drawn = resampled(rise, seed) - resampled(base, seed + 1)
        found["above_floor_low"], found["above_floor_high"] = bounds(drawn)
    return found


def _interval(name: str, values: Array, seed: int) -> dict[str, float]:
    if len(values) < MIN_CONTENTS:
        return {}
    low, high = bounds(resampled(values, seed))
    return {f"{name}_low": low, f"{name}_high": high}


def resampled(values: Array, seed: int) -> Array:
    """The means of resamples (DRAWS,) of values (n,)."""
    rows = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    return np.asarray(values[rows].mean(axis=1))


def bounds(drawn: Array) -> tuple[float, float]:
    """The 95 % percentile interval of resampled means."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)
