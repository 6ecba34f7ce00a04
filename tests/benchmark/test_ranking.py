"""Measures by query against a brute-force ranking, and what failures score."""

import numpy as np
import pytest

from megastyle_cli.benchmark.ranking import rank_queries
from megastyle_cli.evaluate.metrics import query_scores, random_scores
from megastyle_cli.retrieval.csls import mean_similarity
from tests.retrieval.vectors import unit_rows

KS = (1, 3, 10)
NUM_QUERIES, NUM_GALLERY = 12, 40
STYLE = np.random.default_rng(2).integers(4, size=NUM_QUERIES + NUM_GALLERY)
CONTENT = np.arange(NUM_QUERIES + NUM_GALLERY) % 7
VECTORS = unit_rows(NUM_QUERIES + NUM_GALLERY, 6, seed=3)


def ranked(vectors=VECTORS, mask=None, **more):
    """Rows 0 to 11 are the queries; `mask` (q, g) says what they search."""
    mask = np.ones((NUM_QUERIES, NUM_GALLERY), bool) if mask is None else mask
    return rank_queries(
        vectors[:NUM_QUERIES],
        vectors[NUM_QUERIES:],
        allowed=lambda rows: mask[rows],
        is_positive=lambda rows: STYLE[rows, None] == STYLE[NUM_QUERIES:],
        is_same_content=lambda rows: CONTENT[rows, None] == CONTENT[NUM_QUERIES:],
        ks=KS,
        **more,
    )


def test_without_a_mask_the_measures_are_those_of_eval():
    styles, contents = [str(x) for x in STYLE], [str(x) for x in CONTENT]
    split = np.arange(len(STYLE)) < NUM_QUERIES
    given = {"ks": KS, "exclude_same_content": False, "is_query": split}

    found = ranked()

    _, expected = query_scores(VECTORS, styles, contents, **given)
    assert found.measures.keys() == expected.keys()
    for name, values in expected.items():
        assert np.allclose(found.measures[name], values), name
    chance = random_scores(styles, contents, **given)
    for name, values in found.expected.items():
        assert values.mean() == pytest.approx(chance[name])


def test_csd_and_textbook_precision_agree_at_the_first_rank():
    found = ranked(csls=True).measures

    assert (found["map_1"] == found["map_csd_1"]).all()
    assert (found["map_1"] == found["recall_1"]).all()
    assert (found["csls_map_1"] == found["csls_map_csd_1"]).all()
    assert (found["map_10"] != found["map_csd_10"]).any()


def test_a_mask_hides_pictures_and_counts_only_the_others():
    mask = np.random.default_rng(4).random((NUM_QUERIES, NUM_GALLERY)) < 0.4

    found = ranked(mask=mask)

    for query in range(NUM_QUERIES):
        cosines = np.where(mask[query], VECTORS[NUM_QUERIES:] @ VECTORS[query], -9)
        order = np.argsort(-cosines)[:3]
        hits = STYLE[NUM_QUERIES + order] == STYLE[query]
        num_positives = (mask[query] & (STYLE[NUM_QUERIES:] == STYLE[query])).sum()
        precision = (hits * hits.cumsum() / [1, 2, 3]).sum()
        assert found.measures["recall_3"][query] == hits.any()
        assert found.measures["map_3"][query] == pytest.approx(precision / min(3, num_positives))
        assert found.first[query] == order[0]


def test_csls_ranks_by_the_corrected_cosines():
    queries, gallery = VECTORS[:NUM_QUERIES], VECTORS[NUM_QUERIES:]
    hubness = mean_similarity(gallery, gallery, own_rows=np.arange(NUM_GALLERY))

    found = ranked(csls=True).measures["csls_recall_1"]

    best = (2 * queries.astype(float) @ gallery.T - hubness).argmax(axis=1)
    assert found.tolist() == (STYLE[NUM_QUERIES + best] == STYLE[:NUM_QUERIES]).tolist()


def test_equal_vectors_tie_and_the_lower_row_is_first():
    same = np.tile(VECTORS[:1], (len(VECTORS), 1))

    assert set(ranked(same).first) == {0}


def test_a_query_without_a_vector_scores_0_and_leaks_by_chance():
    failed = VECTORS.copy()
    failed[3] = np.nan

    found = ranked(failed)

    assert all(values[3] == 0 for n, values in found.measures.items() if n != "same_content_1")
    assert found.measures["same_content_1"][3] == found.expected["same_content_1"][3] > 0
    assert found.first[3] == -1


def test_a_gallery_picture_without_a_vector_is_never_found():
    failed = VECTORS.copy()
    failed[NUM_QUERIES + 1 :] = np.nan

    assert set(ranked(failed, csls=True).first) == {0}
