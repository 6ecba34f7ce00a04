"""Searches against brute force: approximate candidates, CSLS, and what is kept between runs."""

import io
import tracemalloc

import numpy as np
import pytest

from megastyle_cli.retrieve import ann as search_module
from megastyle_cli.retrieve.ann import approximate, build, exact, prepare, recall
from megastyle_cli.retrieve.csls import csls, mean_similarity
from megastyle_cli.retrieve.nearest import nearest


def styles(n, d=32, seed=0):
    """Unit rows in loose groups of ten, as pictures of a style are."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n // 10, d))[np.arange(n) % (n // 10)]
    rows += 0.5 * rng.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Memory:
    """A shelf that keeps its files in memory."""

    def __init__(self):
        self.kept = {}
        self.writes = 0

    def take(self, name):
        if name not in self.kept:
            return None
        facts, content = self.kept[name]
        return facts, io.BytesIO(content)

    def keep(self, name, facts, write):
        file = io.BytesIO()
        write(file)
        self.kept[name] = facts, file.getvalue()
        self.writes += 1


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_approximate_scores_are_exact_cosines_best_first(method):
    bank, queries = styles(600), styles(20, seed=1)

    scores, rows = approximate(build(bank, method), bank)(queries, 5, None)

    direct = queries.astype(np.float64) @ bank.T.astype(np.float64)
    assert scores == pytest.approx(np.take_along_axis(direct, rows, axis=1), abs=1e-12)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_an_approximate_answer_does_not_depend_on_the_other_queries(method):
    bank, queries = styles(600), styles(40, seed=1)
    search = approximate(build(bank, method), bank)

    together = search(queries, 5, None)
    alone = [search(query[None], 5, None) for query in queries]

    assert np.array_equal(together[0], np.concatenate([scores for scores, _ in alone]))
    assert np.array_equal(together[1], np.concatenate([rows for _, rows in alone]))


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_barred_rows_are_never_candidates(method):
    bank = styles(300)
    barred = [nearest(bank[:1], bank, 8)[1][0], []]

    _, rows = approximate(build(bank, method), bank)(bank[:2], 5, barred)

    assert not set(barred[0]) & set(rows[0])
    assert rows[1, 0] == 1


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_a_build_is_the_same_every_time(method):
    bank, queries = styles(500), styles(30, seed=2)

    first, second = (approximate(build(bank, method), bank)(queries, 5, None) for _ in range(2))

    assert np.array_equal(first[1], second[1])


def test_recall_counts_what_is_found_and_what_is_not():
    bank = styles(200)

    def finds_every_other(queries, k, barred):
        scores, rows = nearest(queries, bank, k, barred)
        scores[:, 1::2] = -np.inf
        return scores, rows

    assert recall(exact(bank), bank, 10, 50, seed=0) == (1.0, 50)
    assert recall(finds_every_other, bank, 10, 50, seed=0) == (0.5, 50)


def test_equal_rows_stand_for_each_other_in_recall():
    bank = np.repeat(styles(20), 30, axis=0)

    share, _ = recall(approximate(build(bank, "ivf"), bank), bank, 10, 100, seed=0)

    assert share == 1.0


@pytest.mark.parametrize("rows_at_once", [7, 8192])
@pytest.mark.parametrize("method", ["exact", "ivf"])
def test_csls_equals_the_definition_over_all_rows(method, rows_at_once, monkeypatch):
    monkeypatch.setattr(search_module, "CSLS_ROWS", rows_at_once)
    bank, queries = styles(60), styles(10, seed=3)

    scores, rows = prepare(bank, method, calibrated=True).search(queries, 4, None)

    direct = csls(
        queries.astype(np.float64) @ bank.T.astype(np.float64),
        mean_similarity(queries, bank),
        mean_similarity(bank, bank, own_rows=np.arange(60)),
    )
    assert rows.tolist() == np.argsort(-direct, axis=1)[:, :4].tolist()
    assert scores == pytest.approx(np.take_along_axis(direct, rows, axis=1), abs=1e-6)


def test_csls_in_blocks_is_what_one_block_gives(monkeypatch):
    bank, queries = np.concatenate([styles(60), styles(60)]), styles(20, seed=1)
    barred = [[3, 70], [], *[[row, row + 60] for row in range(18)]]
    whole = prepare(bank, "exact", calibrated=True).search(queries, 118, barred)
    monkeypatch.setattr(search_module, "CSLS_ROWS", 16)

    scores, rows = prepare(bank, "exact", calibrated=True).search(queries, 118, barred)

    assert np.array_equal(rows, whole[1])
    assert np.array_equal(scores, whole[0])


def test_csls_holds_a_block_of_the_vectors_at_a_time():
    bank = styles(40_960, d=128)  # 21 MB
    crowding = np.zeros(len(bank))
    tracemalloc.start()

    search_module._calibrated_exactly(exact(bank), bank, crowding)(bank[:2], 10, None)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < bank.nbytes / 2


def test_what_was_built_is_used_again_while_it_fits():
    bank, shelf = styles(300), Memory()
    first = prepare(bank, "ivf", calibrated=True, shelf=shelf)
    writes = shelf.writes

    second = prepare(bank, "ivf", calibrated=True, shelf=shelf)

    assert shelf.writes == writes
    assert second.measured == first.measured
    assert np.array_equal(first.search(bank[:9], 5, None)[1], second.search(bank[:9], 5, None)[1])


@pytest.mark.parametrize("method", ["hnsw", "ivf"])
def test_rows_added_since_are_found_and_the_recall_is_of_them_too(method):
    bank, shelf = styles(300), Memory()
    prepare(bank[:200], method, calibrated=False, shelf=shelf)

    grown = prepare(bank, method, calibrated=False, shelf=shelf)

    _, rows = grown.search(bank[290:], 1, None)
    assert rows[:, 0].tolist() == list(range(290, 300))
    assert grown.measured["recall_rows"] == 300
    assert shelf.kept[f"{method}.faiss"][0]["count"] == 300


def test_other_settings_build_anew(monkeypatch):
    bank, shelf = styles(300), Memory()
    prepare(bank, "hnsw", calibrated=False, shelf=shelf)
    other = search_module.HNSW | {"links": 8}
    monkeypatch.setitem(search_module.SETTINGS, "hnsw", other)

    prepare(bank, "hnsw", calibrated=False, shelf=shelf)

    assert shelf.kept["hnsw.faiss"][0]["settings"] == other


def test_the_recall_is_said():
    remark = prepare(styles(300), "hnsw", calibrated=False).remarks[0]

    assert remark == "hnsw: recall@10 1.000 on 300 rows of the index"
