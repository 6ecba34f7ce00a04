"""Buckets, Jaccard similarity and greedy selection against plain Python."""

import random
from itertools import combinations

import numpy as np
import pytest

from megastyle_cli.dedup import near
from megastyle_cli.dedup.config import NearConfig
from megastyle_cli.dedup.near import (
    AdjacencyList,
    NgramSets,
    _may_reach,
    band_buckets,
    jaccard,
    merge_bands,
    select_greedily,
)
from megastyle_cli.dedup.signatures import sketches


def random_sets(count: int, seed: int, most: int = 50) -> tuple[list[set[int]], NgramSets]:
    rng = random.Random(seed)
    base = [rng.randrange(1 << 32) for _ in range(60)]
    sets: list[set[int]] = [set(rng.sample(base, rng.randint(1, most))) for _ in range(count)]
    hashes = np.array([value for one in sets for value in sorted(one)], np.uint32)
    starts = np.append(0, np.cumsum([len(one) for one in sets]))
    return sets, NgramSets(hashes, starts, sketches(hashes, starts))


def links_of(targets: list[list[int]], scores: list[list[float]] | None = None) -> AdjacencyList:
    return AdjacencyList(
        np.append(0, np.cumsum([len(some) for some in targets])),
        np.array([one for some in targets for one in some], np.int32),
        1 + max((max(some, default=-1) for some in targets), default=-1),
        np.array([one for some in scores or [] for one in some], np.float64),
    )


def split(links: AdjacencyList) -> list[set[int]]:
    return [set(part.tolist()) for part in np.split(links.targets, links.starts[1:-1])]


def test_jaccard_is_that_of_sets_and_no_sketch_rejects_a_pair_that_reaches_it() -> None:
    sets, ngrams = random_sets(120, seed=2)

    for one in range(len(sets)):
        for two in range(len(sets)):
            true = len(sets[one] & sets[two]) / len(sets[one] | sets[two])
            assert jaccard(ngrams.hashes, ngrams.starts, one, two) == true
            assert _may_reach(ngrams.sketches, ngrams.starts, one, two, true)


def test_sketches_and_sizes_reject_most_dissimilar_pairs() -> None:
    sets, ngrams = random_sets(120, seed=3)
    apart = [
        (a, b)
        for a, b in combinations(range(120), 2)
        if len(sets[a] & sets[b]) < 0.3 * len(sets[a] | sets[b])
    ]

    left = [p for p in apart if _may_reach(ngrams.sketches, ngrams.starts, *p, 0.8)]

    assert len(apart) > 500 and len(left) < 0.05 * len(apart)


@pytest.mark.parametrize("max_ignored", [0, 1, 3, 100])
def test_common_ngrams_that_are_shared_do_not_count_up_to_the_limit(max_ignored: int) -> None:
    sets, ngrams = random_sets(60, seed=4)

    for one, two in combinations(range(60), 2):
        shared, total = sets[one] & sets[two], sets[one] | sets[two]
        ignored = min(max_ignored, sum(value % 2 for value in shared))
        expected = (len(shared) - ignored) / (len(total) - ignored) if len(total) > ignored else 1.0
        found = jaccard(ngrams.hashes, ngrams.starts, one, two, max_ignored)
        assert found == pytest.approx(expected, abs=0)


def test_equal_sets_of_common_ngrams_alone_are_equal() -> None:
    hashes = np.array([1, 3, 5, 1, 3, 5], np.uint32)

    assert jaccard(hashes, np.array([0, 3, 6]), 0, 1, 20) == 1.0


def test_band_buckets_are_the_runs_of_equal_keys() -> None:
    keys = np.random.default_rng(5).integers(0, 60, 100).astype(np.uint32) + np.uint32(4e9)

    found = band_buckets(keys)

    groups: dict[int, set[int]] = {}
    for row, bucket in zip(found.rows.tolist(), found.buckets.tolist(), strict=True):
        groups.setdefault(bucket, set()).add(row)
    plain = [set(np.flatnonzero(keys == key).tolist()) for key in np.unique(keys)]
    assert sorted(map(sorted, groups.values())) == sorted(
        sorted(one) for one in plain if len(one) > 1
    )
    assert len(found.content_keys) == len(groups)


def test_texts_meet_in_a_bucket_if_they_share_a_key_and_equal_buckets_are_merged() -> None:
    rng = np.random.default_rng(6)
    bands = rng.integers(0, 40, (6, 100)).astype(np.uint32)
    bands[3] = bands[0]  # the same buckets under other keys
    bands[4] = 7 * bands[1] + 1
    share = {
        pair
        for band in bands.tolist()
        for pair in combinations(range(100), 2)
        if band[pair[0]] == band[pair[1]]
    }

    links = merge_bands(map(band_buckets, bands), 100)

    buckets = split(links)
    assert share == {(a, b) for a, b in combinations(range(100), 2) if buckets[a] & buckets[b]}
    members = [
        tuple(text for text in range(100) if bucket in buckets[text])
        for bucket in range(links.num_targets)
    ]
    assert len(set(members)) == len(members)


def test_no_bands_give_no_buckets() -> None:
    links = merge_bands([], 3)

    assert split(links) == [set()] * 3 and links.num_targets == 0


def plain_selection(
    order: list[int],
    sets: list[set[int]],
    buckets: list[set[int]],
    threshold: float,
    links: list[list[int]],
    scores: list[list[float]],
) -> list[tuple[int, int, float]]:
    """The rule by definition: stage, text duplicated and score of each text of `order`."""
    kept: list[int] = []
    found = []
    for row in order:
        decision = (0, row, 1.0)
        for other in kept:
            similarity = len(sets[row] & sets[other]) / len(sets[row] | sets[other])
            if buckets[row] & buckets[other] and similarity >= threshold:
                decision = (2, other, similarity)
                break
        else:
            for other, score in zip(links[row], scores[row], strict=True):
                if other in kept:
                    decision = (3, other, score)
                    break
        if decision[0] == 0:
            kept.append(row)
        found.append(decision)
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.3, 0.5, 1.0])
def test_selection_is_the_rule_applied_to_all_pairs(
    seed: int, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_BLOCK", 60)
    visited: list[int] = []
    rng = random.Random(seed)
    sets, ngrams = random_sets(150, seed, most=8 if seed % 2 else 50)
    for row in range(100, 150):  # copies and near copies
        sets[row] = set(sorted(sets[row - 100])[rng.randint(0, 1) :]) or sets[row - 100]
    hashes = np.array([value for one in sets for value in sorted(one)], np.uint32)
    starts = np.append(0, np.cumsum([len(one) for one in sets]))
    ngrams = NgramSets(hashes, starts, sketches(hashes, starts))
    buckets = [sorted(rng.sample(range(12), rng.randint(0, 4))) for _ in sets]
    order = rng.sample(range(150), 140)  # ten texts take no part
    position = {row: at for at, row in enumerate(order)}
    links = [
        sorted(rng.sample(range(150), rng.randint(0, 3)), key=lambda row: position.get(row, 999))
        for _ in sets
    ]
    scores = [[rng.random() for _ in some] for some in links]

    stage, duplicate_of, score = select_greedily(
        np.array(order, np.int32),
        ngrams,
        links_of(buckets),
        NearConfig(threshold=threshold),
        links_of(links, scores),
        visited.append,
    )

    expected = plain_selection(order, sets, list(map(set, buckets)), threshold, links, scores)
    assert list(zip(stage.tolist(), duplicate_of.tolist(), score.tolist(), strict=True)) == expected
    assert {one for one, _, _ in expected} == {0, 2, 3}
    assert visited == [60, 60, 20]


def test_more_candidates_than_the_first_buffer_holds_are_all_compared() -> None:
    # 300 distinct sets of 20 in one bucket, each 1 from a common core; the last is one of them
    core = list(range(0, 40, 2))
    sets = [sorted([*core[:-1], 1000 + row]) for row in range(300)] + [sorted([*core[:-1], 1299])]
    hashes = np.array([value for one in sets for value in one], np.uint32)
    starts = np.append(0, np.cumsum([len(one) for one in sets]))
    ngrams = NgramSets(hashes, starts, sketches(hashes, starts))
    everyone = links_of([[0]] * 301)

    stage, duplicate_of, _ = select_greedily(
        np.arange(301, dtype=np.int32),
        ngrams,
        everyone,
        NearConfig(threshold=0.95),
        AdjacencyList.empty(301),
    )

    assert stage.tolist() == [0] * 300 + [2] and duplicate_of[300] == 299
