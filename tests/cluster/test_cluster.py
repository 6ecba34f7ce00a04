"""Clusterings: the sample covers what is reported, and records get their own clusters."""

import numpy as np
import pytest

from megastyle_cli.cluster.cluster import (
    PRESETS,
    StyleIdentities,
    check_levels,
    check_row,
    cluster_vectors,
    embed_texts,
    parse_levels,
    sample_coverage,
    select_rows,
)
from megastyle_cli.cluster.hierarchy import entropy_bits
from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.io.temporary_files import Spool


def skewed(n: int = 3000, d: int = 16, styles: int = 24, seed: int = 0):
    """Unit vectors (n, d) around a center per style, and their styles (n,), few of them common."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, styles + 1) ** 1.5
    numbers = rng.choice(styles, n, p=frequency / frequency.sum())
    points = rng.normal(size=(styles, d))[numbers] + rng.normal(0, 0.15, (n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), numbers


@pytest.mark.parametrize("members", ["random", "nearest"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_balanced_sample_covers_styles_more_evenly_than_a_random_one(seed, members):
    vectors, styles = skewed(seed=seed)

    found = cluster_vectors(
        vectors,
        levels="150,30",
        sample=300,
        seed=seed,
        engine=LocalEngine(1),
        members=members,
        identities=styles,
    )

    assert found.coverage["coarse clusters"].groups == 30
    coverage = found.coverage["overall styles"]
    sampled = styles[list(found.rows)]
    assert coverage.entropy == pytest.approx(entropy_bits(np.bincount(sampled)))
    assert (coverage.covered, coverage.groups) == (len(set(sampled)), len(set(styles)))
    assert coverage.entropy > coverage.random_entropy + 0.3
    assert coverage.covered >= coverage.random_covered
    assert any(f"entropy {coverage.entropy:.2f} bits" in remark for remark in found.remarks)


def test_nearest_members_are_closer_to_their_centroid_than_those_left_out():
    vectors, _ = skewed(400)
    options = {"levels": "20,4", "sample": 100, "seed": 0, "engine": LocalEngine(1)}

    nearest = cluster_vectors(vectors, members="nearest", **options)
    random = cluster_vectors(vectors, **options)

    fine, distances = nearest.hierarchy.assignments[0], nearest.hierarchy.distances

    def are_nearest(rows):
        is_sampled = np.isin(np.arange(400), list(rows))
        return all(
            distances[(fine == cluster) & is_sampled].max(initial=0)
            <= distances[(fine == cluster) & ~is_sampled].min(initial=np.inf)
            for cluster in range(20)
        )

    assert are_nearest(nearest.rows) and not are_nearest(random.rows)


def test_coverage_counts_groups_and_leaves_out_rows_without_one():
    styles = np.repeat([0, 1, 2, -1], [70, 20, 10, 5])

    coverage = sample_coverage(styles, np.arange(20), np.random.default_rng(3))

    random = styles[np.random.default_rng(3).choice(105, 20, replace=False)]
    random = random[random >= 0]
    assert (coverage.groups, coverage.covered, coverage.entropy) == (3, 1, 0.0)
    assert coverage.random_covered == len(set(random))
    one_each = sample_coverage(styles, np.array([0, 70, 90, 104]), np.random.default_rng(3))
    assert (one_each.groups, one_each.covered) == (3, 3)
    assert coverage.random_entropy == pytest.approx(entropy_bits(np.bincount(random)))


def test_a_sample_of_all_records_reports_no_coverage():
    vectors, styles = skewed(200)

    found = cluster_vectors(
        vectors, levels="10", sample=None, seed=0, engine=LocalEngine(1), identities=styles
    )

    assert found.coverage == {}
    assert list(found.rows) == list(range(200))


def test_overall_styles_are_equal_whatever_their_case_and_spaces():
    names = ["Cubism", " cubism ", "Collage", 7, None, "", "pop  art", "POP art"]
    identities = StyleIdentities()

    records = [{"style_identity": name} for name in names]
    assert list(identities.collect(records)) == records

    assert identities.numbers().tolist() == [0, 0, 1, -1, -1, -1, 2, 2]
    assert StyleIdentities().numbers().tolist() == []


@pytest.fixture
def spool():
    with Spool() as spool:
        for row in range(30):
            spool.add({"id": f"r{row}", "style": f"text {row}", "cluster": "of an earlier run"})
        yield spool


def test_vectors_that_are_not_finite_are_failures_and_change_no_other_cluster(spool):
    vectors, _ = skewed(30)
    good = np.delete(np.arange(30), [4, 9])
    broken = vectors.copy()
    broken[4], broken[9, 2] = np.nan, np.inf
    options = {"levels": "6,2", "sample": None, "seed": 0, "engine": LocalEngine(1), "xy": True}

    found = cluster_vectors(broken, **options)
    alone = cluster_vectors(vectors[good], **options)

    assert found.not_finite == [4, 9] and list(found.rows) == good.tolist()
    for labels, expected in zip(
        found.hierarchy.assignments, alone.hierarchy.assignments, strict=True
    ):
        assert labels[[4, 9]].tolist() == [-1, -1]
        assert np.array_equal(labels[good], expected)
    assert np.array_equal(found.hierarchy.distances[good], alone.hierarchy.distances)
    assert np.array_equal(found.xy[good], alone.xy)
    failures = list(found.failures(spool))
    assert [failure.record["id"] for failure in failures] == ["r4", "r9"]
    assert {failure.kind for failure in failures} == {"model_error"}
    assert found.stats() == alone.stats()
    assert found.stats()["clusters"] == [6, 2]


def test_sampled_records_get_the_clusters_and_coordinates_of_their_own_row(spool):
    vectors, _ = skewed(30)
    found = cluster_vectors(vectors, levels="8,3", sample=7, seed=0, engine=LocalEngine(1), xy=True)

    records = list(found.sample_records(spool, with_row=True, run="1234abcd"))

    fine, coarse = found.hierarchy.assignments
    assert len(records) == 7
    for row, record in zip(found.rows, records, strict=True):
        assert record["id"] == f"r{row}" and record["row"] == row
        assert (record["cluster"], record["cluster_2"]) == (fine[row], coarse[row])
        assert [record["x"], record["y"]] == [round(value, 5) for value in found.xy[row].tolist()]
        assert record["_megastyle"]["cluster"] == {"run": "1234abcd"}
    assert "row" not in next(found.sample_records(spool))


def test_without_a_map_records_have_no_coordinates(spool):
    found = cluster_vectors(skewed(30)[0], levels="4", sample=None, seed=0, engine=LocalEngine(1))

    record = next(found.sample_records(spool))

    assert set(record) == {"id", "style", "cluster", "_megastyle"}


def test_levels_that_do_not_fit_shrink_with_a_remark():
    found = cluster_vectors(
        skewed(300)[0], levels="paper", sample=None, seed=0, engine=LocalEngine(1)
    )

    assert found.remarks[0].startswith(
        "300 records: levels 50000,10000,5000,1000 are reduced to 15,"
    )
    assert found.remarks[1].startswith(f"clusters: {len(found.hierarchy.centroids[0])},")


def test_no_records_have_no_clusters():
    found = cluster_vectors(
        np.zeros((0, 4), np.float32),
        levels="auto",
        sample=3,
        seed=0,
        engine=LocalEngine(1),
        xy=True,
    )

    assert (list(found.rows), found.not_finite, found.remarks) == ([], [], ["clusters: none"])
    assert found.stats() == {"clusters": [0], "objectives": []}


def test_levels_are_numbers_a_preset_or_auto():
    assert parse_levels("50,10", 7) == [50, 10]
    assert parse_levels("auto", 1000) == [50, 10, 2]
    assert parse_levels("paper", 7) == PRESETS["paper"] == [50_000, 10_000, 5_000, 1_000]
    assert parse_levels("plusplus", 7) == [100_000, 5_000, 500]
    for text in ("auto", "plusplus", "3"):
        check_levels(text)
    for text in ("abc", "5,5", "0", ""):
        with pytest.raises(MegastyleError, match="levels"):
            check_levels(text)


@pytest.mark.parametrize("row", [-1, 5, "1", 1.0, True, None])
def test_a_row_that_is_not_one_of_the_vectors_is_a_bad_record(row):
    check_row({"id": "a", "row": 0}, 5)
    check_row({"id": "a", "row": 4}, 5)
    with pytest.raises(BadRecord, match="there are 5 vectors") as caught:
        check_row({"id": "a", "row": row}, 5)
    assert caught.value.kind == "missing_key"


def test_vectors_are_selected_by_the_row_of_each_record():
    vectors = np.arange(12).reshape(6, 2)

    selected = select_rows(vectors, [{"row": 5}, {"row": 0}, {"row": 5}])

    assert selected.shape == (3, 2) and np.array_equal(selected[:], vectors[[5, 0, 5]])


def test_texts_are_embedded_in_order_a_limited_number_at_a_time():
    sizes = []

    def embed(texts):
        sizes.append(len(texts))
        return np.array([[len(text)] for text in texts], np.float32)

    blocks = list(embed_texts(("x" * n for n in range(10)), embed, size=4))

    assert sizes == [4, 4, 2]
    assert np.concatenate(blocks)[:, 0].tolist() == list(range(10))
