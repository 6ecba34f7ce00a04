"""Scores of single records: against their own reference, many references, prompts, contents."""

import numpy as np
import pytest

from megastyle_cli.core.record import Failure, annotate
from megastyle_cli.evaluate.references import OwnReferences, load_references
from megastyle_cli.evaluate.score import ScoringModels, only_scored, score_records
from megastyle_cli.models.builtin.style_descriptor import StyleDescriptor
from megastyle_cli.models.registry import load
from tests.drawn_images import DrawnImages
from tests.models.encoders.test_dual_encoder import clip_folder


def models(**more):
    reader = DrawnImages()
    return ScoringModels(style=StyleDescriptor(), reader=reader, full_size_reader=reader, **more)


def scored(records, having=None, references=None):
    having = having or models()
    references = references or OwnReferences(having.reference_extractors)
    results = score_records(records, models=having, references=references)
    return list(only_scored(results, having))


def given(records, **options):
    return load_references(records, models().reference_extractors, **options)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return load("text_image", "auto", model=str(clip_folder(tmp_path_factory.mktemp("clip"))))


def test_each_image_is_compared_with_its_own_reference():
    records = [
        {"id": "a", "file_name": "1", "style_file_name": "1", "license": "cc0"},
        {"id": "b", "file_name": "1", "style_file_name": "2"},
    ]

    same, other = scored(records)

    one, two = StyleDescriptor().embed(DrawnImages().read(["1", "2"]))
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
    reader = DrawnImages()
    having = ScoringModels(style=StyleDescriptor(), reader=reader, full_size_reader=reader)
    records = [{"id": str(i), "file_name": str(i), "style_file_name": "99"} for i in range(70)]
    scored(records, having)

    assert reader.names.count("99") == 1


def test_scores_do_not_depend_on_how_records_are_batched():
    records = [
        {"id": str(i), "file_name": str(i), "style_file_name": str(i % 3)} for i in range(40)
    ]

    assert scored(records) == [scored([record])[0] for record in records]


def test_text_score_and_prompt_loss_are_cosines_of_picture_and_prompt(clip):
    record = {"id": "a", "file_name": "1", "content": "oil ink", "content_file_name": "2"}

    (found,) = scored([record], models(text=clip))

    one, two = clip.embed(DrawnImages().read(["1", "2"]))
    (prompt,) = clip.embed_texts(["oil ink"])
    assert found["text_score"] == round(float(one @ prompt), 4)
    assert found["prompt_loss"] == pytest.approx(float((two - one) @ prompt), abs=6e-5)


def test_an_unreadable_content_picture_leaves_only_the_prompt_loss_out(clip, caplog):
    record = {"id": "a", "file_name": "1", "content": "oil", "content_file_name": "broken"}

    (found,) = scored([record], models(text=clip))

    assert "text_score" in found and "prompt_loss" not in found
    assert "no prompt loss: broken" in caplog.text


def test_a_prompt_without_a_text_model_leaves_only_the_text_score_out():
    record = {"id": "a", "file_name": "1", "style_file_name": "2", "content": "oil"}

    (found,) = scored([record])

    assert "style_score" in found and "text_score" not in found


def test_content_similarity_compares_with_the_reference(clip):
    record = {"id": "a", "file_name": "1", "style_file_name": "2"}

    (found,) = scored([record], models(text=clip, content=clip))

    one, two = clip.embed(DrawnImages().read(["1", "2"]))
    assert found["content_similarity"] == round(float(one @ two), 4)


def test_a_score_by_the_same_model_is_kept_and_one_by_another_is_not():
    record = {"id": "a", "file_name": "1", "style_file_name": "2", "style_score": 0.1234}
    ours = annotate(record, "eval", model=StyleDescriptor().name)
    theirs = annotate(record, "eval", model="other")

    kept, again = scored([ours, theirs])

    assert kept["style_score"] == 0.1234
    assert again["style_score"] != 0.1234


def test_scores_against_given_references_name_their_prototype_and_number():
    records = [{"id": "a", "file_name": "1"}]
    references = given([{"id": "b", "file_name": "2"}, {"id": "c", "file_name": "3"}])

    (found,) = scored(records, references=references)

    rows = StyleDescriptor().embed(DrawnImages().read(["1", "2", "3"])).astype(np.float64)
    center = rows[1:].mean(axis=0)
    assert found["style_score"] == pytest.approx((rows[1:] @ rows[0]).mean(), abs=5e-5)
    assert found["prototype_score"] == pytest.approx(
        center @ rows[0] / np.linalg.norm(center), abs=5e-5
    )
    assert found["references"] == 2


def test_a_score_against_the_same_references_is_kept_and_one_against_others_is_not():
    references = given([{"id": "b", "file_name": "2"}])
    record = {"id": "a", "file_name": "1", "style_score": 0.1234}
    name = StyleDescriptor().name
    ours = annotate(record, "eval", model=name, **references.provenance)
    theirs = annotate(record, "eval", model=name, references=1, reference_set="00000000")

    kept, again = scored([ours, theirs], references=references)

    assert kept["style_score"] == 0.1234 and "prototype_score" not in kept
    assert again["style_score"] != 0.1234


def test_a_score_against_given_references_is_kept_without_them():
    note = {"model": StyleDescriptor().name, "references": 1, "reference_set": "00000000"}
    record = {"id": "a", "file_name": "1", "style_file_name": "2", "style_score": 0.1234}

    results = score_records(
        [annotate(record, "eval", **note)],
        models=models(),
        references=OwnReferences(models().reference_extractors),
    )

    (result,) = results
    assert result.record["style_score"] == 0.1234
    assert result.key is None  # its own reference is not the one it was compared with


def test_a_kept_text_score_is_not_computed_again(clip):
    record = {"id": "a", "file_name": "1", "content": "oil", "text_score": 0.1234}

    kept, again = scored(
        [annotate(record, "eval", text_model=clip.name), annotate(record, "eval", text_model="x")],
        models(text=clip),
    )

    assert kept["text_score"] == 0.1234
    assert again["text_score"] != 0.1234


def test_a_prompt_without_a_finite_vector_fails(clip):
    class NoNumbers:
        name = "lame"
        embed = clip.embed

        def embed_texts(self, texts):
            return np.full((len(texts), 4), np.nan)

    (failure,) = scored([{"id": "a", "file_name": "1", "content": "oil"}], models(text=NoNumbers()))

    assert (
        failure.kind == "model_error"
        and "lame returned values that are not finite for 'oil'" in failure.message
    )


def test_a_record_without_a_score_is_told_what_it_lacks(clip):
    (failure,) = scored([{"id": "a", "file_name": "1"}], models(text=clip))

    assert failure.message == "record a has no style_file_name and no text under 'content'"
