"""How far an encoder tells each style from the others: the discrimination gap."""

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record
from megastyle_cli.evaluate.score import STYLE
from megastyle_cli.evaluate.scored_set import ScoredSet
from megastyle_cli.paper_protocols.intervals import mean_of, rounded
from megastyle_cli.retrieval.embed import Array

DRAWS = 2000
SHOWN = 10  # styles with the smallest gaps

# m images of one style, d width, t draws


def discrimination_gap(images: ScoredSet, seed: int) -> Record:
    """The mean gap over styles, and how many styles have a negative one.

    The gap of a style is the mean cosine of two of its images less that of its images with images
    of other styles. `negative_robust` counts the styles whose 95 % interval, by resampling their
    images, lies below 0. Raises MegastyleError unless two styles have two images each.
    Source: the discrimination gap of arXiv 2605.09030.
    """
    labelled = images.labelled
    rows: dict[str, list[int]] = {}
    if labelled.scored:
        for row, name in enumerate(labelled.groups):
            rows.setdefault(name, []).append(row)
    several = {name: own for name, own in rows.items() if len(own) > 1}
    if len(several) < 2:
        found_styles = "no style has" if not several else f"only {next(iter(several))} has"
        raise MegastyleError(
            f"{found_styles} two images, and a gap needs two such styles",
            hint=f"styles are read under {images.label!r}: check --label",
        )
    vectors = labelled.vectors(STYLE).astype(np.float64)
    total = vectors.sum(axis=0)
    gaps = {}
    for name, own in sorted(several.items()):
        inside = vectors[own]
        outside = (total - inside.sum(axis=0)) / (len(vectors) - len(own))
        gaps[name] = _gap(inside @ inside.T, inside @ outside, seed)
    values = np.array([gap["gap"] for gap in gaps.values()])
    found = mean_of(values, list(gaps), seed)
    smallest = sorted(gaps, key=lambda name: (gaps[name]["gap"], name))[:SHOWN]
    return found | {
        "styles": len(gaps),
        "negative": int((values < 0).sum()),
        "negative_share": rounded(float((values < 0).mean())),
        "negative_robust": sum(gap.get("high", 0) < 0 for gap in gaps.values()),
        "left_out": len(rows) - len(several),
        "smallest": [{"style": name, **gaps[name]} for name in smallest],
        "images": sum(map(len, several.values())),
    }


def _gap(cosines: Array, outside: Array, seed: int) -> Record:
    """The gap of one style with its interval; cosines are (m, m), those with others (m,)."""
    m = len(cosines)
    counts = np.ones((1, m))
    drawn = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=DRAWS)
    (gap,), resampled = (_gaps(each, cosines, outside) for each in (counts, drawn.astype(float)))
    low, high = np.percentile(resampled[~np.isnan(resampled)], [2.5, 97.5])
    return {"gap": rounded(float(gap)), "low": rounded(float(low)), "high": rounded(float(high))}


def _gaps(counts: Array, cosines: Array, outside: Array) -> Array:
    """The gap (t,) of resamples in which image i occurs `counts[:, i]` times, (t, m).

    An image is never compared with itself; NaN for a resample of one image alone.
    """
    itself = (counts**2) @ np.diag(cosines)
    pairs = counts.sum(axis=1) ** 2 - (counts**2).sum(axis=1)
    within = np.einsum("ti,ij,tj->t", counts, cosines, counts, optimize=True) - itself
    between = counts @ outside / counts.sum(axis=1)
    return np.asarray(
        np.divide(within, pairs, out=np.full(len(counts), np.nan), where=pairs > 0) - between
    )
