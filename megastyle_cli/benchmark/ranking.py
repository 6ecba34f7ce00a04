"""Retrieval measures of one system on one tier, query by query."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.evaluate.metrics import expected_measures, measures_of_hits
from megastyle_cli.retrieval.csls import mean_similarity
from megastyle_cli.retrieval.embed import Array

CELLS = 2**23  # scores held at a time: 64 MiB
DECIMALS = 10  # equal vectors tie, although the last bits of a product depend on its block
# b queries at a time, q queries, g pictures of the gallery, d width
Rows = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """What queries found: `measures` by name, each (q,); their expectation if every ranking is
    equally likely; the first picture of the gallery (q,), -1 if there is none, and its cosine."""

    measures: dict[str, Array]
    expected: dict[str, Array]
    first: Array
    first_score: Array


def rank_queries(
    queries: Array,
    gallery: Array,
    *,
    allowed: Rows,
    is_positive: Rows,
    is_same_content: Rows,
    ks: Sequence[int],
    csls: bool = False,
) -> Ranked:
    """The measures of `queries` (q, d) in `gallery` (g, d), unit rows; NaN where a system failed.

    The three functions give for query numbers (b,) which pictures (b, g) are searched, are of the
    query's style, and of its content. A picture of the gallery without a vector is found last; a
    query without one finds nothing: it scores 0, and its `same_content_1` is that of chance. With
    `csls` measures `csls_*` rank by CSLS. Ties go to the lower row.
    """
    has_vector, is_found = _is_finite(queries), _is_finite(gallery)
    queries, gallery = _without_nan(queries), _without_nan(gallery)
    hubness = _hubness(gallery, is_found) if csls else None
    parts: list[dict[str, Array]] = []
    for start in range(0, len(queries), block := max(1, CELLS // max(1, len(gallery)))):
        rows = np.arange(start, min(start + block, len(queries)))
        searched = allowed(rows)
        positive = is_positive(rows) & searched
        leak = is_same_content(rows) & searched & ~positive
        scores = np.round(queries[rows].astype(np.float64) @ gallery.T.astype(np.float64), DECIMALS)
        part = {
            "num_positives": positive.sum(axis=1),
            "size": searched.sum(axis=1),
            "num_leaks": leak.sum(axis=1),
        }
        usable = searched & is_found & has_vector[rows, None]
        top, top_scores = _best(np.where(usable, scores, -np.inf), max(ks))
        part |= {"first": top[:, 0], "first_score": top_scores[:, 0]}
        part["hit"] = np.take_along_axis(positive, top, axis=1) & (top >= 0)
        part["leaks"] = np.take_along_axis(leak, top[:, :1], axis=1)[:, 0] & (top[:, 0] >= 0)
        if hubness is not None:
            top, _ = _best(np.where(usable, 2 * scores - hubness, -np.inf), max(ks))
            part["csls_hit"] = np.take_along_axis(positive, top, axis=1) & (top >= 0)
        parts.append(part)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _ranked(whole, has_vector, ks)


def _ranked(whole: dict[str, Array], has_vector: Array, ks: Sequence[int]) -> Ranked:
    num_positives, size = np.maximum(whole["num_positives"], 1), np.maximum(whole["size"], 1)
    measures = measures_of_hits(whole["hit"], num_positives, ks)
    expected = expected_measures(num_positives, size, ks)
    by_chance = whole["num_leaks"] / size
    if whole["num_leaks"].any():
        measures["same_content_1"] = np.where(has_vector, whole["leaks"], by_chance)
        expected["same_content_1"] = by_chance
    if "csls_hit" in whole:
        corrected = measures_of_hits(whole["csls_hit"], num_positives, ks)
        measures |= {f"csls_{name}": values for name, values in corrected.items()}
        expected |= {f"csls_{name}": expected[name] for name in corrected}
    return Ranked(
        measures=measures,
        expected=expected,
        first=whole["first"],
        first_score=whole["first_score"],
    )


def _best(scores: Array, k: int) -> tuple[Array, Array]:
    """The k best columns (b, k) of each row, -1 where there are fewer, and their scores."""
    width = min(k, scores.shape[1])
    # the lowest of the best: all that reach it are candidates, so that ties go to the lower row
    cutoff = -np.partition(-scores, width - 1, axis=1)[:, width - 1]
    top = np.full((len(scores), k), -1)
    best = np.full((len(scores), k), -np.inf)
    for row, (own, least) in enumerate(zip(scores, cutoff, strict=True)):
        candidates = np.flatnonzero((own >= least) & np.isfinite(own))
        order = candidates[np.argsort(-own[candidates], kind="stable")[:k]]
        top[row, : len(order)], best[row, : len(order)] = order, own[order]
    return top, best


def _hubness(gallery: Array, is_found: Array) -> Array:
    """r of CSLS for each picture of the gallery: the mean cosine with its nearest others."""
    bank = gallery[is_found].astype(np.float32)
    hubness = np.zeros(len(gallery))
    hubness[is_found] = mean_similarity(bank, bank, own_rows=np.arange(len(bank)))
    return np.round(hubness, DECIMALS)


def _is_finite(vectors: Array) -> Array:
    return np.asarray(np.isfinite(vectors).all(axis=1))


def _without_nan(vectors: Array) -> Array:
    return np.where(np.isfinite(vectors), vectors, 0)
