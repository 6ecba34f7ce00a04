"""Indexes in memory: what they check, how they are built, and how they are searched."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor
from megastyle_cli.retrieval.index_writer import IndexWriter, embed_rows, encode_row
from megastyle_cli.retrieval.style_index import IndexSource, StyleIndex, build_index, open_searcher
from tests.drawn_images import DrawnImages
from tests.retrieval.vectors import csls_matrix, grouped_rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a"]}, "1 records for vectors of shape"),
        ({"file_names": ["a.png"]}, "2 ids but 1 file names"),
        ({"vectors": np.array([[1, 0], [3, 4]], np.float32)}, "row 1 of the index has norm 5"),
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
        StyleIndex(**(parts | change))


def records(*names):
    return [{"id": f"id{name}", "file_name": name} for name in names]


def test_images_that_cannot_be_read_are_left_out_of_an_index():
    listed = [*records("1", "broken", "2"), Failure({"id": "x"}, "bad_json", "line 4 is no JSON")]

    index = build_index(listed, StyleDescriptor(), DrawnImages())

    assert list(index.ids) == ["id1", "id2"]
    assert index.model == StyleDescriptor.name
    with pytest.raises(MegastyleError, match="no image of the index can be read"):
        build_index(records("broken"), StyleDescriptor(), DrawnImages())


def test_the_fingerprint_is_of_ids_and_vectors():
    one = build_index(records("1", "2"), StyleDescriptor(), DrawnImages())
    other_image = build_index(records("1", "3"), StyleDescriptor(), DrawnImages())
    other_id = StyleIndex(
        vectors=one.vectors, ids=["id1", "x"], file_names=one.file_names, model=one.model
    )

    again = build_index(records("1", "2"), StyleDescriptor(), DrawnImages())
    assert again.fingerprint == one.fingerprint
    assert len({one.fingerprint, other_image.fingerprint, other_id.fingerprint}) == 3


@pytest.mark.parametrize("method", ["exact", "ivf"])
@pytest.mark.parametrize("score", ["cosine", "csls"])
def test_every_method_and_score_finds_the_best_rows(method, score):
    bank, queries = grouped_rows(60), grouped_rows(10, seed=3)

    scores, rows = open_searcher(bank, method, score).search(queries, 4)

    cosines = queries.astype(np.float64) @ bank.T.astype(np.float64)
    direct = cosines if score == "cosine" else csls_matrix(queries, bank)
    assert rows.tolist() == np.argsort(-direct, axis=1)[:, :4].tolist()
    assert scores == pytest.approx(np.take_along_axis(direct, rows, axis=1), abs=1e-6)


def save(folder, *names):
    writer = IndexWriter(folder)
    writer.open()
    writer.set_encoder(StyleDescriptor(), {"backend": "statistics"})
    for row in embed_rows(records(*names), StyleDescriptor(), DrawnImages()):
        writer.write(encode_row(row))
    writer.commit()
    writer.close()


def test_a_saved_index_is_opened_with_its_encoder_and_keeps_what_is_computed(tmp_path):
    save(tmp_path / "x", "1", "2", "3")
    source = IndexSource.find([str(tmp_path / "x")])

    index = source.open(StyleDescriptor(), DrawnImages(), "ivf", "csls")

    assert list(index.ids) == ["id1", "id2", "id3"]
    assert index.searcher.stats["method"] == "ivf"
    cached = {path.name for path in (tmp_path / "x").iterdir()}
    assert {"ivf.faiss", "csls-ivf.f64"} <= cached


def test_an_index_with_artifacts_of_a_removed_method_is_still_searched(tmp_path):
    save(tmp_path / "x", "1", "2", "3")
    (tmp_path / "x" / "hnsw.faiss").write_bytes(b"of a version with --method hnsw")
    (tmp_path / "x" / "hnsw.faiss.json").write_text("{}")

    index = IndexSource.find([str(tmp_path / "x")]).open(
        StyleDescriptor(), DrawnImages(), "ivf", "cosine"
    )

    assert index.search(index.vectors[:1], 1)[1].tolist() == [[0]]


def test_a_saved_index_of_another_encoder_is_refused(tmp_path):
    class Other(StyleDescriptor):
        name = "other"

    save(tmp_path / "x", "1")

    with pytest.raises(
        MegastyleError, match="made with style-statistics, but the encoder is other"
    ):
        IndexSource.find([str(tmp_path / "x")]).open(Other(), DrawnImages(), "exact", "cosine")


def test_a_saved_index_is_searched_alone(tmp_path):
    save(tmp_path / "x", "1")

    with pytest.raises(MegastyleError, match="cannot be combined with other inputs"):
        IndexSource.find([str(tmp_path / "x"), str(tmp_path)])


def test_an_index_that_does_not_exist_is_refused_before_any_work(tmp_path):
    with pytest.raises(MegastyleError, match="does not exist"):
        IndexSource.find([str(tmp_path / "x")])
