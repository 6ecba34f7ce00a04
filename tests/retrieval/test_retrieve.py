"""The neighbours that records and prototypes get."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor
from megastyle_cli.retrieval.retrieve import check_text_encoder, retrieve, retrieve_prototypes
from megastyle_cli.retrieval.style_index import StyleIndex
from tests.drawn_images import DrawnImages
from tests.retrieval.vectors import unit_rows


@pytest.fixture(scope="module")
def index():
    names = [str(seed) for seed in range(12)]
    return StyleIndex(
        vectors=StyleDescriptor().embed(DrawnImages().read(names)),
        ids=[f"id{name}" for name in names],
        file_names=[f"{name}.png" for name in names],
        model=StyleDescriptor.name,
    )


def run(records, index, k=3, keep_self=False):
    encoder = StyleDescriptor()
    return list(
        retrieve(
            records, index=index, encoder=encoder, reader=DrawnImages(), k=k, keep_self=keep_self
        )
    )


def test_neighbors_come_best_first_and_other_keys_pass_through(index):
    record = {"id": "q", "file_name": "3", "license": "cc0"}

    (found,) = run([record], index)

    neighbors = found.pop("neighbors")
    assert found == record
    assert neighbors[0] == {"id": "id3", "score": 1.0, "file_name": "3.png"}
    scores = [near["score"] for near in neighbors]
    assert scores == sorted(scores, reverse=True)
    assert len(neighbors) == 3


def test_a_query_finds_itself_only_with_keep_self(index):
    record = {"id": "id3", "file_name": "3"}

    (without,) = run([record], index)
    (with_self,) = run([record], index, keep_self=True)

    assert "id3" not in [near["id"] for near in without["neighbors"]]
    assert with_self["neighbors"][0]["id"] == "id3"
    assert without["neighbors"][:2] == with_self["neighbors"][1:]


def test_all_rows_with_the_id_of_the_query_are_left_out(index):
    twice = StyleIndex(
        vectors=np.concatenate([index.vectors, index.vectors]),
        ids=index.ids * 2,
        file_names=index.file_names * 2,
        model=index.model,
    )

    (found,) = run([{"id": "id3", "file_name": "3"}], twice, k=100)

    assert len(found["neighbors"]) == 22
    assert "id3" not in [near["id"] for near in found["neighbors"]]


def test_failures_stay_in_their_place(index):
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


def test_a_prototype_is_the_mean_of_its_queries(index):
    records = [{"id": f"q{name}", "file_name": name} for name in ("1", "4", "broken", "7")]

    failure, found = retrieve_prototypes(
        records, index=index, encoder=StyleDescriptor(), reader=DrawnImages(), k=3
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
        next(
            retrieve_prototypes(
                order, index=index, encoder=StyleDescriptor(), reader=DrawnImages(), k=1
            )
        )["id"]
        for order in (records, records[::-1])
    }

    assert len(ids) == 1


class TextAndStyle(StyleDescriptor):
    """A style encoder that also embeds texts, by their length."""

    def embed_texts(self, texts):
        return np.stack([unit_rows(20, 1356)[len(text)] for text in texts])


def neighbors_of(record, index, **options):
    encoder = TextAndStyle()
    (found,) = retrieve(
        [record], index=index, encoder=encoder, reader=DrawnImages(), k=3, **options
    )
    return found if isinstance(found, Failure) else [near["id"] for near in found["neighbors"]]


def test_a_record_is_a_text_query_by_key_or_without_an_image(index):
    cosines = index.vectors.astype(np.float64) @ unit_rows(20, 1356)[7]
    by_text = [f"id{row}" for row in np.argsort(-cosines)[:3]]
    by_image = neighbors_of({"id": "q", "file_name": "3", "text": "1234567"}, index)

    assert neighbors_of({"id": "q", "text": "1234567"}, index) == by_text
    record = {"id": "q", "file_name": "3", "style": "1234567"}
    assert neighbors_of(record, index, text_key="style") == by_text
    assert by_image[0] == "id3"


@pytest.mark.parametrize("text", [" ", 5, None])
def test_a_text_query_without_text_fails(index, text):
    failure = neighbors_of({"id": "q", "style": text}, index, text_key="style")

    assert failure.kind == "missing_key" and "no text under 'style'" in failure.message


def test_text_queries_need_an_encoder_of_texts(index):
    check_text_encoder(TextAndStyle())
    with pytest.raises(MegastyleError, match="has no text tower"):
        check_text_encoder(StyleDescriptor())

    (failure,) = run([{"id": "q", "text": "ink"}], index)

    assert failure.kind == "model_error"


def test_there_is_a_prototype_for_each_value_of_a_key(index):
    records = [{"id": str(n), "file_name": str(n), "set": "ab"[n % 2]} for n in range(4)]
    records.append({"id": "x", "file_name": "4"})

    failure, first, second = retrieve_prototypes(
        records, index=index, encoder=StyleDescriptor(), reader=DrawnImages(), k=3, by="set"
    )

    assert failure.kind == "missing_key" and "no 'set'" in failure.message
    assert [first["set"], second["set"]] == ["a", "b"]
    assert second["prototype_of"] == ["1", "3"] and second["file_name"] in ("1", "3")


def test_a_prototype_finds_its_members_only_with_keep_self(index):
    records = [{"id": f"id{n}", "file_name": str(n)} for n in range(3)]
    options = {"index": index, "encoder": StyleDescriptor(), "reader": DrawnImages(), "k": 12}

    (without,) = retrieve_prototypes(records, **options)
    (with_self,) = retrieve_prototypes(records, **options, keep_self=True)

    assert len(without["neighbors"]) == 9
    assert {"id0", "id1", "id2"} < {near["id"] for near in with_self["neighbors"]}
