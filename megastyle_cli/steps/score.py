"""Measures of style: retrieval by style, style score, spread, and intervals over styles."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from megastyle_cli.errors import BadRecord, MegastyleError
from megastyle_cli.models.backend import StyleEncoder
from megastyle_cli.record import Failure, Record
from megastyle_cli.steps.pictures import Read
from megastyle_cli.steps.vectors import (
    BATCH,
    Array,
    batched,
    embed_pictures,
    embed_records,
    nearest,
    rounded,
)

# n rows, q queries that have a positive, k places of a ranking
KS = (1, 10)
MOST_REFERENCES = 4096


def query_scores(
    vectors: Array,
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
) -> tuple[Array, dict[str, Array]]:
    """The row numbers (q,) of the queries that have a positive, and each measure for them, (q,).

    `vectors` is (n, d) with unit rows. Every row is a query; its gallery is all other rows, or
    those of another content if `exclude_same_content`. Equal scores go to the lower row, places
    beyond the gallery count as misses. Row i is positive for j if their labels are equal.
    `recall_k`: is there a positive in the top k. `map_csd_k`: the mean of precision@1 to
    precision@k, which CSD calls mAP. `map_k`: average precision over the top k, divided by
    min(k, number of positives). `same_content_1`: has the nearest neighbour the query's content
    and another label; only with contents that are not excluded.
    Source: CSD (Somepalli et al. 2024) for `map_csd_k`.
    """
    style, content = _numbers(labels), _contents(contents, exclude_same_content)
    positives, _, _ = _gallery(style, content, exclude_same_content)
    queries = np.flatnonzero(positives > 0)
    barred = _barred(content if exclude_same_content else None, len(style))
    _, found = nearest(vectors[queries], vectors, max(ks), [barred[i] for i in queries])
    found = np.pad(found, ((0, 0), (0, max(ks) - found.shape[1])), constant_values=-1)
    hit = (style[found] == style[queries, None]) & (found >= 0)  # (q, k)
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
) -> dict[str, float]:
    """The means of `query_scores` in [0, 1], with `queries` and `queries_without_positive`.

    Raises MegastyleError if no query has a positive, or contents are needed and not given.
    """
    queries, measures = query_scores(
        vectors, labels, contents, ks=ks, exclude_same_content=exclude_same_content
    )
    return _summary(measures, len(queries), len(labels))


def random_scores(
    labels: Sequence[str],
    contents: Sequence[str] | None = None,
    *,
    ks: Sequence[int] = KS,
    exclude_same_content: bool,
) -> dict[str, float]:
    """What `retrieval_scores` gives on average if every ranking is equally likely.

    Exact, so nothing is drawn: with r positives in a gallery of m, a place holds a positive with
    probability r / m, and, if another place does, each other with (r - 1) / (m - 1).
    """
    style, content = _numbers(labels), _contents(contents, exclude_same_content)
    positives, gallery, strangers = _gallery(style, content, exclude_same_content)
    queries = np.flatnonzero(positives > 0)
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
    return _summary(measures, len(queries), len(labels))


def bootstrap_interval(
    groups: Sequence[Sequence[float] | Array], seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """The 95 % interval of the mean of all values if styles were drawn again.

    `groups` holds the values of each style. Whole styles are drawn with replacement, because the
    values of one style are not independent. Raises MegastyleError if there is no value.
    """
    sums = np.array([float(np.sum(group)) for group in groups])
    counts = np.array([len(group) for group in groups], float)
    if not counts.sum():
        raise MegastyleError("there is no value to take an interval of", hint="score records first")
    sums, counts = sums[counts > 0], counts[counts > 0]
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(len(sums), size=len(sums))
        means[draw] = sums[chosen].sum() / counts[chosen].sum()
    low, high = np.quantile(means, (0.025, 0.975))
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


def score_style(
    records: Iterable[Record],
    *,
    encoder: StyleEncoder,
    read: Read,
    references: dict[str, Array | BadRecord] | None = None,
) -> Iterator[Record | Failure]:
    """Add `style_score`: the cosine of `file_name` and its reference `style_file_name`, 4 digits.

    A reference is embedded once; give the same `references` again to keep them between calls
    (at most MOST_REFERENCES are kept). Records that lack a key or a readable picture fail.
    """
    known = {} if references is None else references
    for batch in batched(embed_records(records, encoder, read), BATCH):
        seen = [result[0] for result in batch if not isinstance(result, Failure)]
        vectors = iter(_reference_vectors(seen, encoder, read, known))
        for result in batch:
            yield result if isinstance(result, Failure) else _scored(*result, next(vectors))


def _scored(record: Record, vector: Array, reference: Array | BadRecord) -> Record | Failure:
    if isinstance(reference, BadRecord):
        return Failure(record, reference.kind, reference.message)
    return record | {"style_score": rounded(style_score(vector, reference))}


def _reference_vectors(
    records: Sequence[Record],
    encoder: StyleEncoder,
    read: Read,
    known: dict[str, Array | BadRecord],
) -> list[Array | BadRecord]:
    """The vector of each record's reference, from `known` or made now and put there."""
    names = [record.get("style_file_name") for record in records]
    told = dict.fromkeys(name for name in names if isinstance(name, str))
    new = [name for name in told if name not in known]
    known.update(zip(new, embed_pictures(read(new), encoder), strict=True))
    vectors = [
        known[name]
        if isinstance(name, str)
        else BadRecord("missing_key", f"record {record['id']} has no style_file_name")
        for name, record in zip(names, records, strict=True)
    ]
    while len(known) > MOST_REFERENCES:
        del known[next(iter(known))]
    return vectors


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


def _barred(content: Array | None, n: int) -> list[Array]:
    """The rows each of n queries must not find: itself, or all of its content if that is given."""
    if content is None:
        return list(np.arange(n)[:, None])
    order = np.argsort(content, kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(content))[:-1])
    return [rows_of[number] for number in content]


def _gallery(
    style: Array, content: Array | None, exclude_same_content: bool
) -> tuple[Array, Array, Array]:
    """For each row (n,): its positives, its gallery, and its content's pictures in other styles."""
    same_style = np.bincount(style)[style]
    n = len(style)
    if content is None:
        return same_style - 1, np.full(n, n - 1), np.zeros(n, int)
    same_content = np.bincount(content)[content]
    both = _numbers(style * (content.max() + 1) + content)
    same_both = np.bincount(both)[both]
    strangers = same_content - same_both
    if exclude_same_content:
        return same_style - same_both, n - same_content, strangers
    return same_style - 1, np.full(n, n - 1), strangers


def _summary(measures: dict[str, Array], scored: int, total: int) -> dict[str, float]:
    if not scored:
        raise MegastyleError(
            f"none of {total} pictures shares its style with a picture it is compared with",
            hint="retrieval measures need two pictures or more of a style",
        )
    means = {name: float(values.mean()) for name, values in measures.items()}
    return means | {"queries": scored, "queries_without_positive": total - scored}
