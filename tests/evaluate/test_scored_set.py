"""A scored set: its groups, styles, comparisons and provenance."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, annotate
from megastyle_cli.evaluate.references import OwnReferences
from megastyle_cli.evaluate.scored_set import ScoredSet
from tests.evaluate.small_set import VECTORS, models, record, scored_set, styled


def test_records_that_fail_are_yielded_and_the_others_kept():
    references = OwnReferences(models().reference_extractors)
    found = ScoredSet("style_id", models(), references)

    failures = list(found.add([*styled(2), {"id": "x", "file_name": "broken"}]))

    assert [type(failure) for failure in failures] == [Failure]
    assert [each["id"] for each in found.records] == ["r0", "r1"]
    assert np.array_equal(found.vectors("style"), VECTORS[:2])


def test_an_empty_set_is_refused_with_the_exit_code_of_failures():
    with pytest.raises(MegastyleError, match="no image could be read") as caught:
        _ = scored_set([]).records

    assert caught.value.exit_code == 3


def test_a_record_without_a_label_is_alone_in_its_group():
    found = scored_set([record(1, style_id="a"), record(2), record(3, style_id="a"), record(4)])

    assert found.groups == ["a", "r2", "a", "r4"]
    assert found.styles == ["a", "r2", "a", "r4"]


def test_without_labels_a_style_is_what_its_references_are():
    records = [record(1, style_file_name="9"), record(2, style_file_name="9"), record(3)]

    assert scored_set(records).styles == ["9", "9", "r3"]


@pytest.mark.parametrize(
    ("labels", "has_groups"), [("ab", False), ("aab", True), ("aa", False), ("abab", True)]
)
def test_groups_need_two_styles_and_two_images_of_one(labels, has_groups):
    records = [record(i, style_id=label) for i, label in enumerate(labels)]

    assert scored_set(records).has_groups is has_groups


def test_values_are_numbers_and_nan_where_a_record_has_none():
    found = scored_set([record(1, x=1), record(2, x=0.5), record(3), record(4, x="high")])

    assert found.values("x")[:2].tolist() == [1.0, 0.5]
    assert np.isnan(found.values("x")[2:]).all()


def test_a_comparison_holds_the_images_that_have_references():
    records = [record(0), *styled(4)[1:]]

    comparison = scored_set(records).compare("style")

    assert comparison.rows.tolist() == [1, 2, 3]
    assert np.array_equal(comparison.vectors, VECTORS[1:4])
    assert comparison.keys == ["51", "52", "50"]
    assert np.array_equal(comparison.bank.vectors, VECTORS[[51, 52, 50]])
    assert scored_set([record(0)]).compare("style") is None


def test_provenance_names_the_models_and_references_in_use():
    found = scored_set([record(1)], given=[record(2), record(3)])

    assert found.provenance.keys() == {"model", "references", "reference_set"}
    assert found.provenance["model"] == "rows@1" and found.provenance["references"] == 2


def test_provenance_of_before_is_kept_if_all_records_share_it():
    note = {"model": "rows@1", "text_model": "clip@2", "reference_set": "12345678"}
    same = [annotate(record(i), "eval", **note) for i in range(2)]
    other = annotate(record(2), "eval", **note | {"text_model": "clip@3"})

    assert scored_set(same).provenance == note
    assert scored_set([*same, other]).provenance == {"model": "rows@1", "reference_set": "12345678"}
    assert scored_set([*same, record(3)]).provenance == {"model": "rows@1"}


def test_style_prompts_are_the_distinct_texts_in_order():
    records = [record(i, style=text) for i, text in enumerate(["b", "a", "b", 5])]

    assert scored_set([*records, record(9)]).style_prompts == ["b", "a"]
