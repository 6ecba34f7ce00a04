"""Retrieval measures against brute force and by hand; chance; intervals."""

import itertools

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.evaluate.metrics import (
    bootstrap_interval,
    query_scores,
    random_scores,
    retrieval_scores,
    within_between_similarity,
)
from tests.retrieval.vectors import cosines, csls_matrix, grouped_rows, unit_rows


def labelled(n, seed=0):
    rng = np.random.default_rng(seed)
    return [f"s{i}" for i in rng.integers(6, size=n)], [f"c{i}" for i in rng.integers(5, size=n)]


def on_a_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def brute_force(vectors, labels, contents, k, exclude_same_content, is_query=None, scores=None):
    """The same measures, one query at a time, written from their definitions.

    The ranking is by cosine, or by `scores` (n, n).
    """
    if scores is None:
        scores = cosines(vectors, vectors)
    recall, csd, textbook, leaks = [], [], [], []
    for i in range(len(vectors)):
        if is_query is not None and not is_query[i]:
            continue
        gallery = [
            j
            for j in range(len(vectors))
            if (contents[j] != contents[i] if exclude_same_content else j != i)
            and (is_query is None or not is_query[j])
        ]
        relevant = sum(labels[j] == labels[i] for j in gallery)
        if not relevant:
            continue
        ranking = sorted(gallery, key=lambda j: (-float(scores[i, j]), j))
        hits = [labels[j] == labels[i] for j in ranking] + [False] * k
        precisions = [sum(hits[: p + 1]) / (p + 1) for p in range(k)]
        recall.append(any(hits[:k]))
        csd.append(sum(precisions) / k)
        gained = sum(p for p, hit in zip(precisions, hits, strict=False) if hit)
        textbook.append(gained / min(k, relevant))
        first = ranking[0]
        leaks.append(contents[first] == contents[i] and labels[first] != labels[i])
    return [float(np.mean(values)) for values in (recall, csd, textbook, leaks)]


SPLITS = [None, np.arange(50) % 4 == 0]


@pytest.mark.parametrize("is_query", SPLITS, ids=["leave-one-out", "split"])
@pytest.mark.parametrize("exclude_same_content", [True, False])
@pytest.mark.parametrize("k", [1, 3, 10, 60])
def test_measures_equal_their_definitions(exclude_same_content, k, is_query):
    vectors, (labels, contents) = unit_rows(50, 6), labelled(50)
    options = {"exclude_same_content": exclude_same_content, "is_query": is_query}

    found = retrieval_scores(vectors, labels, contents, ks=(k,), **options)

    expected = brute_force(vectors, labels, contents, k, **options)
    recall, csd, textbook, leaks = (pytest.approx(value, abs=1e-12) for value in expected)
    assert found[f"recall_{k}"] == recall
    assert found[f"map_csd_{k}"] == csd
    assert found[f"map_{k}"] == textbook
    if not exclude_same_content:
        assert found["same_content_1"] == leaks


@pytest.mark.parametrize("is_query", SPLITS, ids=["leave-one-out", "split"])
@pytest.mark.parametrize("exclude_same_content", [True, False])
def test_csls_measures_equal_their_definitions(exclude_same_content, is_query):
    vectors, (labels, contents) = grouped_rows(50, 6), labelled(50)
    options = {"exclude_same_content": exclude_same_content, "is_query": is_query}
    in_gallery = np.ones(50, bool) if is_query is None else ~is_query
    scores = np.full((50, 50), -np.inf)
    scores[:, in_gallery] = csls_matrix(vectors, vectors[in_gallery])

    _, found = query_scores(vectors, labels, contents, ks=(3,), csls=True, **options)

    recall, _, textbook, _ = brute_force(vectors, labels, contents, 3, scores=scores, **options)
    assert found["csls_recall_3"].mean() == pytest.approx(recall, abs=1e-12)
    assert found["csls_map_3"].mean() == pytest.approx(textbook, abs=1e-12)
    assert found["csls_map_3"].mean() != found["map_3"].mean()


def test_the_two_maps_of_one_ranking_by_hand():
    # from the query at 0 degrees the ranking is a, b, a: precisions 1, 1/2, 2/3, and two positives
    vectors = on_a_circle(0, 10, 20, 30)
    labels = ["a", "a", "b", "a"]

    queries, measures = query_scores(vectors, labels, ks=(3,), exclude_same_content=False)

    assert queries.tolist() == [0, 1, 3]
    assert measures["map_csd_3"][0] == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)
    assert measures["map_3"][0] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_at_rank_one_all_three_measures_are_one(seed):
    vectors, (labels, contents) = unit_rows(40, 4, seed), labelled(40, seed)

    found = retrieval_scores(vectors, labels, contents, exclude_same_content=True)

    assert found["recall_1"] == found["map_1"] == found["map_csd_1"]


def test_perfect_clusters_score_one():
    centers = np.eye(4, dtype=np.float32).repeat(12, axis=0)
    noise = 0.05 * unit_rows(48, 4)
    vectors = centers + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = [f"s{i // 12}" for i in range(48)]

    found = retrieval_scores(vectors, labels, exclude_same_content=False)

    ratios = {key: value for key, value in found.items() if not key.startswith("queries")}
    assert set(ratios.values()) == {1.0}


def test_the_order_of_rows_changes_nothing():
    vectors, (labels, contents) = unit_rows(60, 5), labelled(60)
    order = np.random.default_rng(1).permutation(60)

    found = retrieval_scores(vectors, labels, contents, exclude_same_content=False)
    turned = retrieval_scores(
        vectors[order],
        [labels[i] for i in order],
        [contents[i] for i in order],
        exclude_same_content=False,
    )

    assert turned == pytest.approx(found)


def test_queries_without_a_positive_are_left_out_and_counted():
    vectors = on_a_circle(0, 10, 20, 30)

    found = retrieval_scores(vectors, ["a", "a", "b", "c"], exclude_same_content=False)

    assert found["queries"] == 2
    assert found["queries_without_positive"] == 2
    assert found["recall_1"] == 1.0


def test_a_style_seen_in_one_content_only_has_no_positive_in_other_contents():
    vectors = on_a_circle(0, 10, 20, 30)
    labels, contents = ["a", "a", "b", "b"], ["x", "x", "x", "y"]

    found = retrieval_scores(vectors, labels, contents, exclude_same_content=True)

    assert found["queries"] == 2  # only the pictures in style b


def test_no_positive_at_all_is_refused():
    with pytest.raises(MegastyleError, match="none of 2"):
        retrieval_scores(on_a_circle(0, 10), ["a", "b"], exclude_same_content=False)


def test_contents_are_needed_to_leave_them_out():
    with pytest.raises(MegastyleError, match="contents are known"):
        retrieval_scores(on_a_circle(0, 10), ["a", "a"], exclude_same_content=True)


@pytest.mark.parametrize("is_query", [None, np.arange(30) % 3 == 0], ids=["leave-one-out", "split"])
@pytest.mark.parametrize("exclude_same_content", [True, False])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_random_scores_are_the_mean_over_random_rankings(exclude_same_content, k, is_query):
    labels, contents = labelled(30)
    options = {"ks": (k,), "exclude_same_content": exclude_same_content, "is_query": is_query}

    expected = random_scores(labels, contents, **options)
    drawn = [
        retrieval_scores(unit_rows(30, 8, seed), labels, contents, **options) for seed in range(200)
    ]

    assert expected.keys() == drawn[0].keys()
    for name, value in expected.items():
        values = [scores[name] for scores in drawn]
        standard_error = np.std(values) / np.sqrt(len(values))
        assert value == pytest.approx(np.mean(values), abs=4 * standard_error + 1e-12), name


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize(("gallery", "positives"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 3)])
def test_random_scores_of_a_small_gallery_equal_the_mean_over_all_rankings(gallery, positives, k):
    labels = ["a"] * (1 + positives) + ["b"] * (gallery - positives)
    is_query = np.arange(1 + gallery) == 0
    options = {"ks": (k,), "exclude_same_content": False, "is_query": is_query}

    expected = random_scores(labels, None, **options)

    every = [
        retrieval_scores(on_a_circle(0, *order), labels, **options)
        for order in itertools.permutations(range(10, 10 + gallery))
    ]
    for name, value in expected.items():
        assert value == pytest.approx(np.mean([scores[name] for scores in every])), name


def test_interval_draws_styles_and_not_values():
    rng = np.random.default_rng(0)
    styles = [np.full(100, mean) for mean in rng.uniform(size=9)]
    values = [[value] for value in np.concatenate(styles)]

    over_styles, over_values = bootstrap_interval(styles), bootstrap_interval(values)

    mean = np.mean(styles)
    assert over_styles[0] < over_values[0] < mean < over_values[1] < over_styles[1]


def test_interval_holds_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    held = 0
    for trial in range(300):
        styles = rng.normal(size=(40, 1)) + rng.normal(size=(40, 3))
        low, high = bootstrap_interval(list(styles), seed=trial)
        held += low <= 0 <= high
    assert 0.90 <= held / 300 <= 0.98


def test_interval_is_the_same_for_the_same_seed_and_ignores_empty_styles():
    styles = [[0.1, 0.4], [0.9], [0.3, 0.3, 0.2]]

    assert bootstrap_interval(styles, seed=5) == bootstrap_interval([*styles, []], seed=5)


def test_interval_of_nothing_is_refused():
    with pytest.raises(MegastyleError, match="no scores"):
        bootstrap_interval([[], []])


def test_spread_equals_the_mean_over_pairs():
    vectors, (labels, _) = unit_rows(20, 5), labelled(20)

    within, between = within_between_similarity(vectors, labels)

    cosines = vectors.astype(float) @ vectors.T.astype(float)
    pairs = [(i, j) for i in range(20) for j in range(i)]
    same = [cosines[i, j] for i, j in pairs if labels[i] == labels[j]]
    other = [cosines[i, j] for i, j in pairs if labels[i] != labels[j]]
    assert within == pytest.approx(np.mean(same))
    assert between == pytest.approx(np.mean(other))


def test_spread_of_one_style_has_no_other_to_compare_with():
    within, between = within_between_similarity(on_a_circle(0, 60), ["a", "a"])

    assert within == pytest.approx(0.5)
    assert between is None
