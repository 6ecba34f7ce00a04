"""Records that share an id get ids of their own, unless they are the same."""

from megastyle_cli.pair.ids import distinct_ids


def own_ids(*records):
    given = [record["id"] for record in records]
    own = distinct_ids(given, lambda rows: [records[row] for row in rows])
    return {row: own.renamed.get(row, given[row]) for row in own.kept}


def test_different_records_with_one_id_get_ids_of_their_own():
    one, other = {"id": "0", "style": "ink"}, {"id": "0", "style": "oil"}
    taken = {"id": "0_1", "style": "chalk"}

    assert own_ids(one, taken, other) == {0: "0", 1: "0_1", 2: "0_2"}
    assert own_ids(one, other, one, other) == {0: "0", 1: "0_1"}
    assert own_ids() == {}


def test_a_picture_under_two_names_is_one_record():
    copy = {"id": "9f2c41d07be8a310", "style": "ink"}

    assert own_ids({**copy, "file_name": "a.png"}, {**copy, "file_name": "b.png"}) == {
        0: copy["id"]
    }
    assert own_ids({"id": "0", "file_name": "a.png"}, {"id": "0", "file_name": "b.png"}) == {
        0: "0",
        1: "0_1",
    }
