"""IVF search against brute force, its recall, and what is cached between runs."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval import ann
from megastyle_cli.retrieval.ann import IvfSearcher, build_ivf, open_ivf, recall
from megastyle_cli.retrieval.artifact_cache import ArtifactCache
from megastyle_cli.retrieval.nearest import ExactSearcher, nearest
from tests.retrieval.vectors import cosines, grouped_rows, unit_rows


class EveryOther(ExactSearcher):
    """Finds only every other of the nearest rows."""

    def search(self, queries, k, excluded=None):
        scores, rows = super().search(queries, k, excluded)
        scores[:, 1::2] = -np.inf
        return scores, rows


def ivf_of(bank):
    return IvfSearcher(build_ivf(bank), bank)


def test_scores_are_exact_cosines_best_first():
    bank, queries = grouped_rows(600), grouped_rows(20, seed=1)

    scores, rows = ivf_of(bank).search(queries, 5)

    direct = cosines(queries, bank)
    assert scores == pytest.approx(np.take_along_axis(direct, rows, axis=1), abs=1e-12)
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_result_does_not_depend_on_the_other_queries():
    bank, queries = grouped_rows(600), grouped_rows(40, seed=1)
    ivf = ivf_of(bank)

    together = ivf.search(queries, 5)
    alone = [ivf.search(query[None], 5) for query in queries]

    assert np.array_equal(together[0], np.concatenate([scores for scores, _ in alone]))
    assert np.array_equal(together[1], np.concatenate([rows for _, rows in alone]))


def test_excluded_rows_are_never_found():
    bank = grouped_rows(300)
    excluded = [nearest(bank[:1], bank, 8)[1][0], []]

    _, rows = ivf_of(bank).search(bank[:2], 5, excluded)

    assert not set(excluded[0]) & set(rows[0])
    assert rows[1, 0] == 1


def test_an_index_is_the_same_every_time_it_is_built():
    bank, queries = grouped_rows(500), grouped_rows(30, seed=2)

    first, second = (ivf_of(bank).search(queries, 5) for _ in range(2))

    assert np.array_equal(first[1], second[1])


def test_a_large_index_has_many_lists_and_searches_an_eighth_of_them():
    bank = unit_rows(4000, 4)

    ivf = ivf_of(bank).ivf

    assert ivf.nlist == 4000 // 39
    assert ivf.nprobe == round(ivf.nlist / 8)


def test_recall_counts_what_is_found_and_what_is_not():
    bank = grouped_rows(200)

    assert recall(ExactSearcher(bank), bank, 10, 50, seed=0) == (1.0, 50)
    assert recall(EveryOther(bank), bank, 10, 50, seed=0) == (0.5, 50)


def test_equal_rows_replace_each_other_in_recall():
    bank = np.repeat(grouped_rows(20), 30, axis=0)

    share, _ = recall(ivf_of(bank), bank, 10, 100, seed=0)

    assert share == 1.0


def test_a_single_row_has_full_recall():
    bank = grouped_rows(10)[:1]

    assert recall(ExactSearcher(bank), bank, 10, 100, seed=0) == (1.0, 1)


def test_recall_is_in_the_stats_and_remarks():
    searcher = open_ivf(grouped_rows(300))

    assert searcher.stats == {"method": "ivf", "recall_10": 1.0, "recall_rows": 300}
    assert searcher.remarks == ("ivf: recall@10 1.000 on 300 rows of the index",)


def test_a_cached_index_is_used_again(tmp_path):
    bank, cache = grouped_rows(300), ArtifactCache(tmp_path)
    first = open_ivf(bank, cache)
    (tmp_path / "ivf.faiss").chmod(0o444)
    before = (tmp_path / "ivf.faiss").stat().st_mtime_ns

    second = open_ivf(bank, cache)

    assert (tmp_path / "ivf.faiss").stat().st_mtime_ns == before
    assert second.stats == first.stats
    assert np.array_equal(first.search(bank[:9], 5)[1], second.search(bank[:9], 5)[1])


@pytest.mark.parametrize("before", [200, 100])
def test_rows_added_since_are_found_and_recall_is_measured_on_them_too(tmp_path, before):
    bank, cache = grouped_rows(300), ArtifactCache(tmp_path)
    open_ivf(bank[:before], cache)

    grown = open_ivf(bank, cache)

    _, rows = grown.search(bank[290:], 1)
    assert rows[:, 0].tolist() == list(range(290, 300))
    assert grown.stats["recall_rows"] == 300
    metadata, file = cache.open("ivf.faiss")
    file.close()
    assert metadata["count"] == 300


def test_an_index_of_other_settings_is_rebuilt(tmp_path, monkeypatch):
    bank, cache = grouped_rows(300), ArtifactCache(tmp_path)
    open_ivf(bank, cache)
    other = ann.IVF | {"least_searched": 3}
    monkeypatch.setattr(ann, "IVF", other)

    open_ivf(bank, cache)

    metadata, file = cache.open("ivf.faiss")
    file.close()
    assert metadata["settings"] == other


def test_an_index_that_faiss_cannot_read_is_refused(tmp_path):
    cache = ArtifactCache(tmp_path)
    with cache.create("ivf.faiss", {"count": 300, "settings": ann.IVF}) as file:
        file.write(b"of another version")

    with pytest.raises(MegastyleError, match="this version of FAISS cannot read"):
        open_ivf(grouped_rows(300), cache)
