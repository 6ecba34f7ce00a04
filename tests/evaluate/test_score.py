"""Scores of single records: against their own reference, many references, prompts, contents."""

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, annotate
from megastyle_cli.evaluate.references import OwnReferences, load_references
from megastyle_cli.evaluate.score import ScoringModels, only_scored, score_records
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.encoders.test_dual_encoder import clip_folder


def read(names):
    """Drawn pictures by number; any other name is a damaged file."""
    return [
        draw(int(name)) if name.isdigit() else BadRecord("bad_image", f"{name} is damaged")
        for name in names
    ]


def models(**more):
    return ScoringModels(style=StyleDescriptor(), read=read, read_full_size=read, **more)


def scored(records, having=None, references=None):
    having = having or models()
    references = references or OwnReferences(having.reference_extractors)
    results = score_records(records, models=having, references=references)
    return list(only_scored(results, having))


def given(records, **options):
    return load_references(records, models().reference_extractors, **options)


def pictures(*numbers):
    return [{"id": f"r{number}", "file_name": str(number)} for number in numbers]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load("text_image", "auto", model=str(clip_folder(tmp_path_factory.mktemp("clip"))))


def test_each_picture_is_compared_with_its_own_reference():
    records = [
        {"id": "a", "file_name": "1", "style_file_name": "1", "license": "cc0"},
        {"id": "b", "file_name": "1", "style_file_name": "2"},
    ]

    same, other = scored(records)

    one, two = StyleDescriptor().embed(read(["1", "2"]))
    assert same == records[0] | {"style_score": 1.0}
    assert other == records[1] | {"style_score": round(float(one @ two), 4)}


def test_what_cannot_be_scored_fails_and_the_order_stays():
    records = [
        {"id": "a", "file_name": "broken", "style_file_name": "1"},
        {"id": "b", "file_name": "1", "style_file_name": "broken"},
        {"id": "c", "file_name": "1"},
        {"id": "d", "style_file_name": "1"},
        {"id": "e", "file_name": "1", "style_file_name": "2"},
    ]

    results = scored(records)

    assert [result.record for result in results[:4]] == records[:4]
    kinds = [result.kind for result in results if isinstance(result, Failure)]
    assert kinds == ["bad_image", "bad_image", "missing_key", "missing_key"]
    assert "style_file_name" in results[2].message
    assert results[4]["id"] == "e"


def test_a_reference_is_opened_once():
    opened = []

    def counting_read(names):
        opened.extend(names)
        return read(names)

    having = ScoringModels(
        style=StyleDescriptor(), read=counting_read, read_full_size=counting_read
    )
    records = [{"id": str(i), "file_name": str(i), "style_file_name": "99"} for i in range(70)]
    scored(records, having)

    assert opened.count("99") == 1


def test_scores_do_not_depend_on_how_records_are_batched():
    records = [
        {"id": str(i), "file_name": str(i), "style_file_name": str(i % 3)} for i in range(40)
    ]

    assert scored(records) == [scored([record])[0] for record in records]


def test_of_many_references_the_mean_cosine_and_that_with_their_mean():
    rows = StyleDescriptor().embed(read(["1", "2", "3", "4"])).astype(np.float64)
    prototype = rows[1:].mean(axis=0)

    (found,) = scored(pictures(1), references=given(pictures(2, 3, 4)))

    assert found["style_score"] == round(float(np.mean(rows[1:] @ rows[0])), 4)
    expected = prototype @ rows[0] / np.linalg.norm(prototype)
    assert found["prototype_score"] == pytest.approx(expected, abs=5e-5)
    assert found["references"] == 3


def test_a_picture_is_never_its_own_reference():
    (alone,) = scored(pictures(2), references=given(pictures(3, 4)))
    (among,) = scored(pictures(2), references=given(pictures(2, 3, 4)))
    (only,) = scored(pictures(2), references=given(pictures(2)))

    assert among == alone
    assert only.kind == "missing_key"


def test_pairing_by_stem_compares_equal_names_only():
    references = given(pictures(1, 2), pair_by="stem")

    one, other = scored(pictures(2, 5), references=references)
    by_copy = scored([{"id": "copy", "file_name": "2"}], references=references)[0]

    assert one.kind == "missing_key"  # its namesake is itself
    assert other.kind == "missing_key" and "'5'" in other.message
    assert by_copy["style_score"] == 1.0 and by_copy["references"] == 1


def test_a_reference_that_cannot_be_read_ends_us():
    with pytest.raises(MegastyleError, match="broken is damaged"):
        given([*pictures(1), {"id": "x", "file_name": "broken"}])


def test_other_references_are_another_set_and_their_order_is_none():
    one, turned = given(pictures(1, 2)), given(pictures(2, 1))

    assert one.provenance == turned.provenance
    assert one.provenance != given(pictures(1, 3)).provenance
    assert one.provenance != given(pictures(1, 2), pair_by="stem").provenance


def test_text_score_and_prompt_loss_are_cosines_of_picture_and_prompt(clip):
    record = {"id": "a", "file_name": "1", "content": "oil ink", "content_file_name": "2"}

    (found,) = scored([record], models(text=clip))

    one, two = clip.embed(read(["1", "2"]))
    (prompt,) = clip.embed_texts(["oil ink"])
    assert found["text_score"] == round(float(one @ prompt), 4)
    assert found["prompt_loss"] == pytest.approx(float((two - one) @ prompt), abs=6e-5)


def test_an_unreadable_content_picture_leaves_only_the_prompt_loss_out(clip):
    record = {"id": "a", "file_name": "1", "content": "oil", "content_file_name": "broken"}

    (found,) = scored([record], models(text=clip))

    assert "text_score" in found and "prompt_loss" not in found


def test_content_similarity_compares_with_the_reference(clip):
    record = {"id": "a", "file_name": "1", "style_file_name": "2"}

    (found,) = scored([record], models(text=clip, content=clip))

    one, two = clip.embed(read(["1", "2"]))
    assert found["content_similarity"] == round(float(one @ two), 4)


def test_a_score_by_the_same_model_is_kept_and_one_by_another_is_not():
    record = {"id": "a", "file_name": "1", "style_file_name": "2", "style_score": 0.1234}
    ours = annotate(record, "eval", model=StyleDescriptor().name)
    theirs = annotate(record, "eval", model="other")

    kept, again = scored([ours, theirs])

    assert kept["style_score"] == 0.1234
    assert again["style_score"] != 0.1234
