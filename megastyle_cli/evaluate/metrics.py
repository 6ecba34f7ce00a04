"""Retrieval measures of style vectors, their random baselines, and bootstrap intervals."""

from collections.abc import Sequence

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.csls import ExactCslsSearcher, bank_similarity
from megastyle_cli.retrieval.embed import Array
from megastyle_cli.retrieval.nearest import ExactSearcher, Searcher

# n rows, q queries that have a positive, g rows of the gallery, k ranks
KS = (1, 10)
BOOTSTRAP_CELLS = 2**18  # styles resampled at a time: fits the processor's cache


def query_scores(
    vectors: Array,
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    is_query: Array | None = None,
    csls: bool = False,
) -> tuple[Array, dict[str, Array]]:
    """The row numbers (q,) of the queries that have a positive, and each measure for them, (q,).

    `vectors` is (n, d) with unit rows. Every row is a query and its gallery is all other rows;
    with `is_query`, (n,) bool, those rows are the queries and the others their gallery. With
    `exclude_same_content` rows of the query's content are removed from its gallery. Row i is
    positive for j if their labels are equal. Ties go to the lower row; ranks beyond the gallery
    count as misses.

    `recall_k`: 1 if there is a positive in the top k. `map_csd_k`: the mean of precision@1 to
    precision@k, which CSD calls mAP. `map_k`: average precision over the top k, divided by
    min(k, number of positives). `same_content_1`: 1 if the nearest neighbour has the query's
    content and another label; only with contents that are not excluded. With `csls` also
    `csls_recall_k` and `csls_map_k`, of the ranking by CSLS.
    Source: CSD (Somepalli et al. 2024) for `map_csd_k`.
    """
    style, content = _encode(labels), _encode_contents(contents, exclude_same_content)
    query_mask, in_gallery = _split(is_query, len(style))
    num_positives, _, _ = _gallery_counts(style, content, exclude_same_content, in_gallery)
    queries = np.flatnonzero((num_positives > 0) & query_mask)
    gallery = np.flatnonzero(in_gallery)  # (g,)
    excluded = _excluded(content if exclude_same_content else None, in_gallery, queries)
    searcher = ExactSearcher(vectors[gallery])

    def rank(searcher: Searcher) -> tuple[Array, dict[str, Array]]:
        """The rows that each query finds (q, k), and the measures of them."""
        _, positions = searcher.search(vectors[queries], max(ks), excluded)
        num_missing = max(ks) - positions.shape[1]
        positions = np.pad(positions, ((0, 0), (0, num_missing)), constant_values=-1)
        found = gallery[positions]  # (q, k), meaningless where the position is -1
        hit = (style[found] == style[queries, None]) & (positions >= 0)
        return found, measures_of_hits(hit, num_positives[queries], ks)

    found, measures = rank(searcher)
    if content is not None and not exclude_same_content:
        first = found[:, 0]
        is_leak = (content[first] == content[queries]) & (style[first] != style[queries])
        measures["same_content_1"] = is_leak.astype(float)
    if csls:
        hubness = bank_similarity(searcher, searcher.vectors)
        _, corrected = rank(ExactCslsSearcher(searcher, hubness))
        for name in [f"{stem}_{k}" for k in ks for stem in ("recall", "map")]:
            measures[f"csls_{name}"] = corrected[name]
    return queries, measures


def retrieval_scores(
    vectors: Array,
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    is_query: Array | None = None,
) -> dict[str, float]:
    """The means of `query_scores`, in [0, 1], with `queries` and `queries_without_positive`.

    Raises MegastyleError if no query has a positive, or contents are needed and not given.
    """
    queries, measures = query_scores(
        vectors,
        labels,
        contents,
        ks=ks,
        exclude_same_content=exclude_same_content,
        is_query=is_query,
    )
    query_mask, _ = _split(is_query, len(labels))
    return _means(measures, len(queries), int(query_mask.sum()))


def random_scores(
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
    is_query: Array | None = None,
) -> dict[str, float]:
    """The expected value of `retrieval_scores` if every ranking is equally likely."""
    style, content = _encode(labels), _encode_contents(contents, exclude_same_content)
    query_mask, in_gallery = _split(is_query, len(style))
    num_positives, gallery_size, num_leaks = _gallery_counts(
        style, content, exclude_same_content, in_gallery
    )
    queries = np.flatnonzero((num_positives > 0) & query_mask)
    measures = expected_measures(num_positives[queries], gallery_size[queries], ks)
    if content is not None and not exclude_same_content:
        measures["same_content_1"] = num_leaks[queries] / gallery_size[queries]
    return _means(measures, len(queries), int(query_mask.sum()))


def measures_of_hits(hit: Array, num_positives: Array, ks: Sequence[int]) -> dict[str, Array]:
    """`recall_k`, `map_csd_k` and `map_k` of `query_scores`, each (q,).

    `hit` (q, k) says which of the first k ranks hold a positive, `num_positives` (q,) how many
    positives there are; k is max(ks).
    """
    precision = hit.cumsum(axis=1) / np.arange(1, max(ks) + 1)
    measures = {}
    for k in ks:
        measures[f"recall_{k}"] = hit[:, :k].any(axis=1).astype(float)
        measures[f"map_csd_{k}"] = precision[:, :k].mean(axis=1)
        precision_sum = (precision * hit)[:, :k].sum(axis=1)
        measures[f"map_{k}"] = precision_sum / np.minimum(k, num_positives)
    return measures


def expected_measures(
    num_positives: Array, gallery_size: Array, ks: Sequence[int]
) -> dict[str, Array]:
    """What `measures_of_hits` gives on average, (q,), if every ranking is equally likely.

    Computed exactly, without sampling: with r positives in a gallery of m, a rank holds a positive
    with probability r / m, and given that, each other rank with probability (r - 1) / (m - 1).
    """
    r, m = num_positives[:, None], gallery_size[:, None]
    ranks = np.arange(1, max(ks) + 1)
    expected_hits = np.minimum(ranks, m) * r / m  # (q, k): in the top k
    all_miss = np.clip((m - r - ranks + 1) / np.maximum(m - ranks + 1, 1), 0, 1).cumprod(axis=1)
    precision_at_hit = (1 + (ranks - 1) * (r - 1) / np.maximum(m - 1, 1)) / ranks
    expected_precision = (ranks <= m) * r / m * precision_at_hit
    measures = {}
    for k in ks:
        measures[f"recall_{k}"] = 1 - all_miss[:, k - 1]
        measures[f"map_csd_{k}"] = (expected_hits / ranks)[:, :k].mean(axis=1)
        precision_sum = expected_precision[:, :k].sum(axis=1)
        measures[f"map_{k}"] = precision_sum / np.minimum(k, num_positives)
    return measures


def bootstrap_interval(
    groups: Sequence[Sequence[float] | Array], seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """The 95 % confidence interval of the mean of all values, by resampling styles.

    `groups` holds the values of each style. Whole styles are drawn with replacement, because the
    values of one style are not independent. Raises MegastyleError if there is no value.
    The interval is too narrow for few styles: it covers the true mean in 93 % of cases with 40
    styles, 91 % with 14, 85 % with 5. Source: the percentile bootstrap over clusters (Efron 1979).
    """
    sums = np.array([float(np.sum(group)) for group in groups])
    counts = np.array([len(group) for group in groups], float)
    if not counts.sum():
        raise MegastyleError(
            "there are no scores to compute a confidence interval from", hint="score records first"
        )
    sums, counts = sums[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(seed)
    block = max(1, BOOTSTRAP_CELLS // len(sums))
    means = []
    for start in range(0, draws, block):
        drawn = rng.integers(len(sums), size=(min(block, draws - start), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def within_between_similarity(
    vectors: Array, labels: Sequence[str]
) -> tuple[float | None, float | None]:
    """The mean cosine of two different rows of one label, and of two rows of different labels.

    `vectors` is (n, d) with unit rows. Each pair counts once; None if there is no such pair.
    """
    style = _encode(labels)
    counts = np.bincount(style).astype(float)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, style, vectors.astype(np.float64))
    squares = np.bincount(style, (vectors.astype(np.float64) ** 2).sum(axis=1))
    # the squared norm of a sum counts every pair twice and every row with itself once
    within = ((sums**2).sum(axis=1) - squares).sum() / 2
    between = ((sums.sum(axis=0) ** 2).sum() - (sums**2).sum()) / 2
    pairs_within = (counts * (counts - 1)).sum() / 2
    pairs_between = len(style) * (len(style) - 1) / 2 - pairs_within
    return (
        float(within / pairs_within) if pairs_within else None,
        float(between / pairs_between) if pairs_between else None,
    )


def _encode(names: Sequence[str] | Array) -> Array:
    """Integer codes (n,) from 0, equal where the names are equal."""
    return np.unique(np.asarray(names), return_inverse=True)[1]


def _encode_contents(contents: Sequence[str] | None, exclude_same_content: bool) -> Array | None:
    if contents is None and exclude_same_content:
        raise MegastyleError(
            "images of the query's own content can only be excluded if contents are known",
            hint="give records with a content_id, or keep all contents in the gallery",
        )
    return None if contents is None else _encode(contents)


def _split(is_query: Array | None, n: int) -> tuple[Array, Array]:
    """Which rows are queries and which are in the gallery: without a split all rows are both."""
    if is_query is None:
        return np.ones(n, bool), np.ones(n, bool)
    return is_query, ~is_query


def _excluded(content: Array | None, in_gallery: Array, queries: Array) -> list[Array]:
    """The gallery positions that each query must not find: its own, or all of its content."""
    rows = np.flatnonzero(in_gallery)
    if content is None:
        position = in_gallery.cumsum() - 1
        return [position[[query]] if in_gallery[query] else rows[:0] for query in queries]
    counts = np.bincount(content[rows], minlength=content.max() + 1)
    by_content = np.split(np.argsort(content[rows], kind="stable"), counts.cumsum()[:-1])
    return [by_content[code] for code in content[queries]]


def _gallery_counts(
    style: Array, content: Array | None, exclude_same_content: bool, in_gallery: Array
) -> tuple[Array, Array, Array]:
    """For each row as a query (n,): how many positives its gallery has, how many rows, and how
    many rows of its content in other styles."""
    itself = in_gallery.astype(int)
    same_style, size = _count_equal(style, in_gallery), int(in_gallery.sum())
    if content is None:
        return same_style - itself, size - itself, np.zeros(len(style), int)
    same_content = _count_equal(content, in_gallery)
    same_both = _count_equal(_encode(style * (content.max() + 1) + content), in_gallery)
    leaks = same_content - same_both
    if exclude_same_content:
        return same_style - same_both, size - same_content, leaks
    return same_style - itself, size - itself, leaks


def _count_equal(codes: Array, in_gallery: Array) -> Array:
    """For each row (n,), how many rows of the gallery have its code, itself included."""
    return np.bincount(codes[in_gallery], minlength=codes.max() + 1)[codes]


def _means(measures: dict[str, Array], num_scored: int, num_queries: int) -> dict[str, float]:
    if not num_scored:
        raise MegastyleError(
            f"none of {num_queries} images shares its style with an image it is compared with",
            hint="retrieval measures need at least two images per style",
        )
    means = {name: float(values.mean()) for name, values in measures.items()}
    without_positive = num_queries - num_scored
    return means | {"queries": num_scored, "queries_without_positive": without_positive}
