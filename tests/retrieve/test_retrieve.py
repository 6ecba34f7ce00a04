"""Nearest rows against brute force, and the neighbours that records get."""

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.builtin.style_encoder import StyleDescriptor
from megastyle_cli.retrieve import nearest as vectors_module
from megastyle_cli.retrieve.nearest import nearest, rounded
from megastyle_cli.retrieve.retrieve import (
    Index,
    check_same_encoder,
    probe,
    retrieve,
    retrieve_prototypes,
)
from tests.conftest import draw


def unit_rows(n, d, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def read(names):
    """Drawn pictures by number; any other name is a damaged file."""
    return [
        draw(int(name)) if name.isdigit() else BadRecord("bad_image", f"{name} is damaged")
        for name in names
    ]


@pytest.fixture(scope="module")
def index():
    names = [str(seed) for seed in range(12)]
    return Index(
        vectors=StyleDescriptor().embed(read(names)),
        ids=[f"id{name}" for name in names],
        file_names=[f"{name}.png" for name in names],
        model=StyleDescriptor.name,
    )


def run(records, index, k=3, keep_self=False):
    encoder = StyleDescriptor()
    return list(
        retrieve(records, index=index, encoder=encoder, read=read, k=k, keep_self=keep_self)
    )


@pytest.mark.parametrize("cells", [1, 300, 2**20])
def test_nearest_equals_brute_force_whatever_the_block(monkeypatch, cells):
    monkeypatch.setattr(vectors_module, "EXACT_CELLS", cells)
    queries, bank = unit_rows(37, 16, 1), unit_rows(200, 16, 2)

    scores, rows = nearest(queries, bank, 5)

    exact = queries.astype(np.float64) @ bank.T.astype(np.float64)
    assert rows.tolist() == np.argsort(-exact, axis=1, kind="stable")[:, :5].tolist()
    assert scores == pytest.approx(np.take_along_axis(exact, rows, axis=1))


def test_equal_scores_go_to_the_lower_row():
    bank = unit_rows(7, 64)[[0, 1, 2, 1, 0, 1, 3, 1, 4, 5, 1, 6]]

    _, rows = nearest(unit_rows(7, 64)[[1]], bank, 4)

    assert rows.tolist() == [[1, 3, 5, 7]]


def test_an_answer_does_not_depend_on_the_other_queries():
    queries, bank = unit_rows(33, 96, 1), unit_rows(500, 96, 2)

    together = nearest(queries, bank, 20)
    alone = [nearest(query[None], bank, 20) for query in queries]

    assert np.array_equal(together[0], np.concatenate([scores for scores, _ in alone]))
    assert np.array_equal(together[1], np.concatenate([rows for _, rows in alone]))


def test_k_is_cut_to_the_rows_there_are():
    scores, rows = nearest(unit_rows(2, 4), unit_rows(3, 4, 1), 10)

    assert scores.shape == rows.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def test_barred_rows_are_not_found_and_leave_places_empty():
    bank = unit_rows(4, 8)

    scores, rows = nearest(bank[:2], bank, 4, barred=[[0, 2], []])

    assert set(rows[0, :2]) == {1, 3}
    assert rows[0, 2:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 2:]).all()
    assert rows[1, 0] == 1


def test_widths_that_differ_are_named_both():
    with pytest.raises(MegastyleError, match="768 dimensions, the index has 1152"):
        nearest(unit_rows(1, 768), unit_rows(1, 1152), 1)


def test_rounded_cosines_fit_a_record():
    assert rounded(1.0000001) == 1.0
    assert rounded(np.float32(0.123456)) == 0.1235
    assert str(rounded(-0.00001)) == "0.0"


def test_neighbors_come_best_first_and_other_keys_pass_through(index):
    record = {"id": "q", "file_name": "3", "license": "cc0"}

    (found,) = run([record], index)

    neighbors = found.pop("neighbors")
    assert found == record
    assert neighbors[0] == {"id": "id3", "score": 1.0, "file_name": "3.png"}
    scores = [near["score"] for near in neighbors]
    assert scores == sorted(scores, reverse=True)
    assert len(neighbors) == 3


def test_a_query_does_not_find_itself_unless_asked(index):
    record = {"id": "id3", "file_name": "3"}

    (without,) = run([record], index)
    (with_self,) = run([record], index, keep_self=True)

    assert "id3" not in [near["id"] for near in without["neighbors"]]
    assert with_self["neighbors"][0]["id"] == "id3"
    assert without["neighbors"][:2] == with_self["neighbors"][1:]


def test_all_rows_with_the_own_id_are_left_out(index):
    twice = Index(
        vectors=np.concatenate([index.vectors, index.vectors]),
        ids=index.ids * 2,
        file_names=index.file_names * 2,
        model=index.model,
    )

    (found,) = run([{"id": "id3", "file_name": "3"}], twice, k=100)

    assert len(found["neighbors"]) == 22
    assert "id3" not in [near["id"] for near in found["neighbors"]]


def test_bad_pictures_fail_in_their_place(index):
    records = [
        {"id": "a", "file_name": "1"},
        {"id": "b", "file_name": "broken"},
        {"id": "c"},
        {"id": "d", "file_name": "2"},
    ]

    results = run(records, index)

    assert [r.kind if isinstance(r, Failure) else r["id"] for r in results] == [
        "a",
        "bad_image",
        "missing_key",
        "d",
    ]
    assert results[1].record == records[1]
    assert results[3]["neighbors"][0]["id"] == "id2"


def test_neighbors_do_not_depend_on_how_records_are_batched(index):
    records = [{"id": str(i), "file_name": str(i)} for i in range(40)]

    together = run(records, index)
    alone = [run([record], index)[0] for record in records]

    assert together == alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a"]}, "1 records for vectors of shape"),
        ({"file_names": ["a.png"]}, "2 ids and 1 file names"),
        ({"vectors": np.array([[1, 0], [3, 4]], np.float32)}, "row 1 of the index has length 5"),
        ({"vectors": np.array([[np.nan, 0], [0, 1]], np.float32)}, "row 0 of the index"),
    ],
)
def test_an_index_whose_parts_do_not_fit_is_refused(change, message):
    parts = {
        "vectors": np.eye(2, dtype=np.float32),
        "ids": ["a", "b"],
        "file_names": ["a.png", "b.png"],
        "model": "style-statistics",
    }

    with pytest.raises(MegastyleError, match=message):
        Index(**(parts | change))


def test_many_equal_rows_are_all_looked_at():
    bank = np.repeat(unit_rows(2, 32), 400, axis=0)[np.random.default_rng(0).permutation(800)]
    best = np.flatnonzero((bank == bank[5]).all(axis=1))

    scores, rows = nearest(bank[[5]], bank, 30)

    assert rows[0].tolist() == best[:30].tolist()
    assert len(set(scores[0])) == 1


def test_a_few_that_may_find_little_do_not_change_the_others():
    queries, bank = unit_rows(3, 16, 1), unit_rows(100, 16, 2)

    _, rows = nearest(queries, bank, 5, [range(98), [], []])

    assert sorted(rows[0, :2]) == [98, 99]
    assert rows[0, 2:].tolist() == [-1, -1, -1]
    assert np.array_equal(rows[1:], nearest(queries[1:], bank, 5)[1])


def test_a_prototype_is_the_mean_of_its_queries(index):
    records = [{"id": f"q{name}", "file_name": name} for name in ("1", "4", "broken", "7")]

    failure, found = retrieve_prototypes(
        records, index=index, encoder=StyleDescriptor(), read=read, k=3
    )

    mean = index.vectors[[1, 4, 7]].astype(np.float64).mean(axis=0)
    cosines = index.vectors.astype(np.float64) @ (mean / np.linalg.norm(mean))
    best = np.argsort(-cosines)[:3]
    assert failure.kind == "bad_image"
    assert found["prototype_of"] == ["q1", "q4", "q7"]
    assert [near["id"] for near in found["neighbors"]] == [f"id{row}" for row in best]
    assert [near["score"] for near in found["neighbors"]] == cosines[best].round(4).tolist()


def test_a_prototype_has_the_same_id_in_any_order(index):
    records = [{"id": f"q{n}", "file_name": str(n)} for n in range(4)]

    ids = {
        next(retrieve_prototypes(order, index=index, encoder=StyleDescriptor(), read=read, k=1))[
            "id"
        ]
        for order in (records, records[::-1])
    }

    assert len(ids) == 1


def test_the_encoder_that_made_an_index_is_known_again():
    encoder, picture = StyleDescriptor(), draw(3)
    seen = probe(encoder, picture)

    check_same_encoder("x", encoder.name, seen.tolist(), encoder, seen)


@pytest.mark.parametrize(
    ("known", "made_by", "message"),
    [
        (lambda seen: seen, "a@12345678", "made by a@12345678, and this is style-statistics"),
        (lambda seen: seen[:-1], "style-statistics", "1355 and 1356 dimensions"),
        (lambda seen: np.roll(seen, 1), "style-statistics", "sees the same picture differently"),
    ],
)
def test_another_encoder_than_the_one_of_the_index_is_refused(known, made_by, message):
    seen = probe(StyleDescriptor(), draw(3))

    with pytest.raises(MegastyleError, match=message):
        check_same_encoder("x", made_by, known(seen).tolist(), StyleDescriptor(), seen)
