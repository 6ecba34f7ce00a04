"""Results by query: lines of one benchmark, of systems that agree with themselves."""

import numpy as np
import pytest

from megastyle_cli.benchmark.painters import PaintedPictures
from megastyle_cli.benchmark.query_results import (
    SealedSet,
    check_lines,
    fact,
    is_measure,
    is_query_result,
    rank_system,
)
from megastyle_cli.core.errors import MegastyleError
from tests.benchmark.small_bench import drawn, make
from tests.retrieval.vectors import unit_rows


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    return SealedSet(*make(folder / "b", drawn(folder)))


def result(system="a", query="q", benchmark="b1", **more):
    line = {"id": query, "style_id": "s", "content_id": "c", "group": "s", "tier": "plain"}
    notes = {"_megastyle": {"eval": {"benchmark": benchmark}}}
    return {**line, "system": system, "recall_1": 1.0, **notes, **more}


def test_every_query_has_a_line_with_its_measures_and_what_it_found(sealed):
    vectors = unit_rows(24, 6, seed=1)

    lines = list(rank_system(sealed, "plain", vectors, (1, 3)))

    assert len(lines) == 6
    rows = sealed.labels.queries
    gallery = sealed.labels.gallery
    for row, line in zip(rows, lines, strict=True):
        record = sealed.records[row]
        assert (line["id"], line["style_id"]) == (record["id"], record["style_id"])
        nearest = sealed.records[gallery[(vectors[gallery] @ vectors[row]).argmax()]]
        assert line["neighbors"][0]["id"] == nearest["id"]
        assert line["recall_1"] == (nearest["style_id"] == record["style_id"])
        assert {"map_3", "random_map_3", "csls_recall_1", "same_content_1"} <= line.keys()
        assert line["missing"] == 0 and "style_score" not in line


def test_painted_pictures_are_the_queries_and_a_missing_one_scores_0_or_by_chance(sealed):
    vectors = unit_rows(24, 6, seed=1)
    first, second, *rest = sealed.labels.queries.tolist()
    by_query = {row: [vectors[row]] * 2 for row in (first, *rest)} | {second: [vectors[second]]}

    whole = list(rank_system(sealed, "plain", vectors, (1,)))
    painted = list(
        rank_system(
            sealed,
            "plain",
            vectors,
            (1,),
            painted=PaintedPictures(vectors=by_query, per_query=2),
        )
    )

    assert [line["missing"] for line in painted] == [0, 1, 0, 0, 0, 0]
    for own, line in zip(painted, whole, strict=True):
        share = 0.5 if own["missing"] else 1.0
        assert own["recall_1"] == share * line["recall_1"]
    style = sealed.labels.style
    same = [g for g in sealed.labels.gallery if style[g] == style[first]]
    assert painted[0]["style_score"] == pytest.approx(
        (vectors[same] @ vectors[first]).mean(), abs=1e-5
    )
    others = [g for g in sealed.labels.gallery if style[g] != style[second]]
    assert painted[1]["random_style_score"] == pytest.approx(
        (vectors[others] @ vectors[second]).mean(), abs=1e-5
    )


def test_a_tier_without_other_styles_is_refused(sealed):
    one = SealedSet(sealed.records[:8], sealed.settings)

    with pytest.raises(MegastyleError, match="no query has another style to search in tier plain"):
        list(rank_system(one, "plain", unit_rows(8, 4, seed=1), (1,)))


def test_near_styles_are_those_of_the_nearest_means(sealed):
    angles = np.radians(np.repeat([0, 20, 90], 8))
    near = sealed.near(np.stack([np.cos(angles), np.sin(angles)], axis=1))

    assert near.all()  # three styles: all are among the ten nearest


def test_equal_lines_count_once_and_other_keys_do_not_matter():
    lines = [result(), result(note=1), result(query="r")]

    assert check_lines(lines) == [lines[0], lines[2]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no results of queries"),
        ([result(), result("c", benchmark="b2")], "a and c are of different benchmarks: b1 and b2"),
        ([result(), result(recall_1=0.0)], "a answers query q twice, in different ways"),
    ],
)
def test_lines_that_do_not_fit_are_refused(lines, message):
    with pytest.raises(MegastyleError, match=message):
        check_lines(lines)


def test_a_line_is_known_by_its_keys():
    assert is_query_result(result()) and fact(result(), "benchmark") == "b1"
    assert not is_query_result({"id": "a", "style_id": "s", "_megastyle": {"eval": 1}})
    assert fact({"_megastyle": []}, "benchmark") == ""


@pytest.mark.parametrize(
    ("key", "expected"),
    [("map_10", True), ("csls_map_csd_1", True), ("same_content_1", True), ("style_score", True)]
    + [(key, False) for key in ("random_map_10", "missing", "map_x", "style_id")],
)
def test_measures_are_told_from_other_keys(key, expected):
    assert is_measure(key) is expected
