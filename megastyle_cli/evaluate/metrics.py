"""Measures of style: retrieval by style, style score, spread, and intervals over styles."""

from collections.abc import Sequence

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieve.nearest import Array, nearest

# n rows, q queries that have a positive, k places of a ranking
KS = (1, 10)
DRAWN_CELLS = 2**18  # styles drawn at a time: what a cache holds


def query_scores(
    vectors: Array,
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    asks: Array | None = None,
) -> tuple[Array, dict[str, Array]]:
    """The row numbers (q,) of the queries that have a positive, and each measure for them, (q,).

    `vectors` is (n, d) with unit rows. Every row is a query and its gallery is all other rows;
    with `asks`, (n,) bool, the rows that ask are queries and the others are their gallery. Rows of
    the query's content are left out of it if `exclude_same_content`. Equal scores go to the lower
    row, places beyond the gallery count as misses. Row i is positive for j if their labels are
    equal. `recall_k`: is there a positive in the top k. `map_csd_k`: the mean of precision@1 to
    precision@k, which CSD calls mAP. `map_k`: average precision over the top k, divided by
    min(k, number of positives). `same_content_1`: has the nearest neighbour the query's content
    and another label; only with contents that are not excluded.
    Source: CSD (Somepalli et al. 2024) for `map_csd_k`.
    """
    style, content = _numbers(labels), _contents(contents, exclude_same_content)
    in_gallery = np.ones(len(style), bool) if asks is None else ~asks
    positives, _, _ = _gallery(style, content, exclude_same_content, in_gallery)
    queries = np.flatnonzero((positives > 0) & _asking(asks, len(style)))
    rows = np.flatnonzero(in_gallery)  # (g,)
    barred = _barred(content if exclude_same_content else None, in_gallery, queries)
    _, places_found = nearest(vectors[queries], vectors[rows], max(ks), barred)
    short = max(ks) - places_found.shape[1]
    places_found = np.pad(places_found, ((0, 0), (0, short)), constant_values=-1)
    found = rows[places_found]  # (q, k); place -1 is none
    hit = (style[found] == style[queries, None]) & (places_found >= 0)
    places = np.arange(1, max(ks) + 1)
    precision = hit.cumsum(axis=1) / places
    measures = {}
    for k in ks:
        measures[f"recall_{k}"] = hit[:, :k].any(axis=1).astype(float)
        measures[f"map_csd_{k}"] = precision[:, :k].mean(axis=1)
        gained = (precision * hit)[:, :k].sum(axis=1)
        measures[f"map_{k}"] = gained / np.minimum(k, positives[queries])
    if content is not None and not exclude_same_content:
        first = found[:, 0]
        leaked = (content[first] == content[queries]) & (style[first] != style[queries])
        measures["same_content_1"] = leaked.astype(float)
    return queries, measures


def retrieval_scores(
    vectors: Array,
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    asks: Array | None = None,
) -> dict[str, float]:
    """The means of `query_scores` in [0, 1], with `queries` and `queries_without_positive`.

    Raises MegastyleError if no query has a positive, or contents are needed and not given.
    """
    queries, measures = query_scores(
        vectors, labels, contents, ks=ks, exclude_same_content=exclude_same_content, asks=asks
    )
    return _summary(measures, len(queries), int(_asking(asks, len(labels)).sum()))


def random_scores(
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    asks: Array | None = None,
) -> dict[str, float]:
    """What `retrieval_scores` gives on average if every ranking is equally likely.

    Exact, so nothing is drawn: with r positives in a gallery of m, a place holds a positive with
    probability r / m, and, if another place does, each other with (r - 1) / (m - 1).
    """
    style, content = _numbers(labels), _contents(contents, exclude_same_content)
    in_gallery = np.ones(len(style), bool) if asks is None else ~asks
    positives, gallery, strangers = _gallery(style, content, exclude_same_content, in_gallery)
    asking = _asking(asks, len(style))
    queries = np.flatnonzero((positives > 0) & asking)
    r, m = positives[queries, None], gallery[queries, None]
    places = np.arange(1, max(ks) + 1)
    seen = np.minimum(places, m)  # (q, k): how many of the gallery are in the top k
    hits = seen * r / m
    misses = np.clip((m - r - places + 1) / np.maximum(m - places + 1, 1), 0, 1).cumprod(axis=1)
    precision_at_hit = (1 + (places - 1) * (r - 1) / np.maximum(m - 1, 1)) / places
    gained = (places <= m) * r / m * precision_at_hit
    measures = {}
    for k in ks:
        measures[f"recall_{k}"] = 1 - misses[:, k - 1]
        measures[f"map_csd_{k}"] = (hits / places)[:, :k].mean(axis=1)
        measures[f"map_{k}"] = gained[:, :k].sum(axis=1) / np.minimum(k, r[:, 0])
    if content is not None and not exclude_same_content:
        measures["same_content_1"] = strangers[queries] / m[:, 0]
    return _summary(measures, len(queries), int(asking.sum()))


def bootstrap_interval(
    groups: Sequence[Sequence[float] | Array], seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """The 95 % interval of the mean of all values if styles were drawn again.

    `groups` holds the values of each style. Whole styles are drawn with replacement, because the
    values of one style are not independent. Raises MegastyleError if there is no value.
    Of few styles it is too narrow: with 40 it holds the truth in 93 % of cases, with 14 in 91, with
    5 in 85. Source: the percentile bootstrap over clusters (Efron 1979).
    """
    sums = np.array([float(np.sum(group)) for group in groups])
    counts = np.array([len(group) for group in groups], float)
    if not counts.sum():
        raise MegastyleError("there is no value to take an interval of", hint="score records first")
    sums, counts = sums[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(seed)
    block = max(1, DRAWN_CELLS // len(sums))
    means = []
    for start in range(0, draws, block):
        chosen = rng.integers(len(sums), size=(min(block, draws - start), len(sums)))
        means.append(sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def style_score(picture: Array, reference: Array) -> float:
    """The cosine of two vectors (d,) in [-1, 1]; it means little without `spread` beside it."""
    a, b = picture.astype(np.float64), reference.astype(np.float64)
    length = np.sqrt((a * a).sum() * (b * b).sum())
    return float(np.clip((a * b).sum() / length, -1, 1))


def spread(vectors: Array, labels: Sequence[str]) -> tuple[float | None, float | None]:
    """The mean cosine of two different rows of one label, and of two rows of different labels.

    `vectors` is (n, d) with unit rows. Each pair counts once; None if there is no such pair.
    """
    style = _numbers(labels)
    counts = np.bincount(style).astype(float)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, style, vectors.astype(np.float64))
    squares = np.bincount(style, (vectors.astype(np.float64) ** 2).sum(axis=1))
    # the square of a sum of vectors holds every pair twice and every row with itself once
    within = ((sums**2).sum(axis=1) - squares).sum() / 2
    between = ((sums.sum(axis=0) ** 2).sum() - (sums**2).sum()) / 2
    pairs_within = (counts * (counts - 1)).sum() / 2
    pairs_between = len(style) * (len(style) - 1) / 2 - pairs_within
    return (
        float(within / pairs_within) if pairs_within else None,
        float(between / pairs_between) if pairs_between else None,
    )


def _numbers(names: Sequence[str] | Array) -> Array:
    """(n,) whole numbers from 0, equal where the names are equal."""
    return np.unique(np.asarray(names), return_inverse=True)[1]


def _contents(contents: Sequence[str] | None, exclude_same_content: bool) -> Array | None:
    if contents is None and exclude_same_content:
        raise MegastyleError(
            "pictures of the query's own content can only be left out if contents are known",
            hint="give records with a content_id, or keep all contents in the gallery",
        )
    return None if contents is None else _numbers(contents)


def _asking(asks: Array | None, n: int) -> Array:
    return np.ones(n, bool) if asks is None else asks


def _barred(content: Array | None, in_gallery: Array, queries: Array) -> list[Array]:
    """The places in the gallery each query must not find: its own, or all of its content's."""
    rows = np.flatnonzero(in_gallery)
    if content is None:
        place = in_gallery.cumsum() - 1
        return [place[[query]] if in_gallery[query] else rows[:0] for query in queries]
    counts = np.bincount(content[rows], minlength=content.max() + 1)
    places_of = np.split(np.argsort(content[rows], kind="stable"), counts.cumsum()[:-1])
    return [places_of[number] for number in content[queries]]


def _gallery(
    style: Array, content: Array | None, exclude_same_content: bool, in_gallery: Array
) -> tuple[Array, Array, Array]:
    """For each row (n,): its positives, its gallery, and its content's pictures in other styles."""

    def met(names: Array) -> Array:  # how many of the gallery have a row's name, itself included
        return np.bincount(names[in_gallery], minlength=names.max() + 1)[names]

    itself = in_gallery.astype(int)
    same_style, size = met(style), int(in_gallery.sum())
    if content is None:
        return same_style - itself, size - itself, np.zeros(len(style), int)
    same_content = met(content)
    same_both = met(_numbers(style * (content.max() + 1) + content))
    strangers = same_content - same_both
    if exclude_same_content:
        return same_style - same_both, size - same_content, strangers
    return same_style - itself, size - itself, strangers


def _summary(measures: dict[str, Array], scored: int, total: int) -> dict[str, float]:
    if not scored:
        raise MegastyleError(
            f"none of {total} pictures shares its style with a picture it is compared with",
            hint="retrieval measures need two pictures or more of a style",
        )
    means = {name: float(values.mean()) for name, values in measures.items()}
    return means | {"queries": scored, "queries_without_positive": total - scored}
