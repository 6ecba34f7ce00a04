"""Which references a record is compared with, and how they are identified."""

import numpy as np
import pytest

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.evaluate.references import (
    OwnReferences,
    ReferenceMatch,
    load_references,
    reference_fingerprint,
)
from tests.evaluate.small_set import VECTORS, models, record

EXTRACTORS = models().reference_extractors


def given(*numbers, **options):
    return load_references([record(n) for n in numbers], EXTRACTORS, **options)


def test_cosines_with_many_references_are_the_mean_and_that_with_their_mean():
    (match,) = given(2, 3, 4).match([record(1)])

    mean, prototype = match.cosines("style", VECTORS[1])

    direct = VECTORS[2:5].astype(float) @ VECTORS[1].astype(float)
    center = VECTORS[2:5].astype(float).mean(axis=0)
    assert mean == pytest.approx(direct.mean(), abs=1e-9)
    assert prototype == pytest.approx(center @ VECTORS[1] / np.linalg.norm(center), abs=1e-6)
    assert match.count == 3


def test_references_that_cancel_out_have_no_direction():
    match = ReferenceMatch(key="", count=2, sums={"style": np.zeros(8)})

    assert match.cosines("style", VECTORS[1]) == (0.0, 0.0)


def test_own_references_are_matched_by_name():
    records = [record(1, style_file_name="9"), record(2), record(3, style_file_name="broken")]

    own, none, broken = OwnReferences(EXTRACTORS).match(records)

    assert (own.key, own.count) == ("9", 1)
    assert own.cosines("style", VECTORS[9]) == pytest.approx((1.0, 1.0))
    assert none is None
    assert isinstance(broken, BadRecord) and broken.message == "broken is damaged"


def test_the_bank_of_own_references_has_each_once_per_style():
    references = OwnReferences(EXTRACTORS)

    bank, styles = references.bank("style", ["9", "8", "9", "9"], ["a", "a", "a", "b"])

    assert list(zip(bank.keys, bank.styles, strict=True)) == [("9", "a"), ("8", "a"), ("9", "b")]
    assert np.array_equal(bank.vectors, VECTORS[[9, 8, 9]])
    assert styles == ["a", "a", "a", "b"]


def test_a_record_is_never_its_own_reference():
    (alone,) = given(3, 4).match([record(2)])
    (among,) = given(2, 3, 4).match([record(2)])
    (only,) = given(2).match([record(2)])

    assert among.count == alone.count == 2
    assert np.array_equal(among.sums["style"], alone.sums["style"])
    assert isinstance(only, BadRecord) and "has no reference but itself" in only.message


def test_pairing_by_stem_matches_equal_file_names():
    references = given(1, 2, pair_by="stem")
    records = [{"id": "copy", "file_name": "elsewhere/2.png"}, {"id": "x", "file_name": "5"}]

    match, missing = references.match(records)

    assert match.key == "2" and match.count == 1
    assert isinstance(missing, BadRecord) and "stem '5'" in missing.message


def test_pairing_by_a_key_matches_equal_values():
    listed = [record(1, style_id=4), record(2, style_id=4), record(3, style_id=5)]
    references = load_references(listed, EXTRACTORS, pair_by="style_id")

    four, none, other = references.match(
        [record(9, style_id="4"), record(9), record(9, style_id=6)]
    )

    assert (four.key, four.count) == ("4", 2)
    assert "has no style_id, which no reference has" in none.message
    assert "has style_id '6', which no reference has" in other.message


def test_the_bank_of_given_references_holds_all_and_the_others():
    references = load_references(
        [record(1, k="a"), record(2, k="b")], EXTRACTORS, pair_by="k", others=[record(3)]
    )

    bank, styles = references.bank("style", ["a", "a"], ["s1", "s2"])

    assert list(bank.keys) == list(bank.styles) == ["a", "b", None]
    assert np.array_equal(bank.vectors, VECTORS[[1, 2, 3]])
    assert styles == ["a", "a"]


@pytest.mark.parametrize("where", ["references", "others"])
def test_a_reference_that_cannot_be_read_is_refused(where):
    broken = [{"id": "x", "file_name": "broken"}]
    listed = {"references": [record(1)], "others": [], where: broken}

    with pytest.raises(MegastyleError, match="reference: broken is damaged"):
        load_references(listed["references"], EXTRACTORS, others=listed["others"])


def test_a_reference_without_the_pairing_key_is_refused():
    with pytest.raises(MegastyleError, match="reference 1 has no style_id"):
        given(1, pair_by="style_id")


def test_more_references_than_a_batch_are_all_loaded():
    (match,) = given(*range(40)).match([record(50)])

    expected = VECTORS[:40].sum(axis=0, dtype=np.float64)
    assert match.count == 40
    assert match.sums["style"] == pytest.approx(expected)


def test_the_fingerprint_is_of_the_set_and_the_pairing_but_not_of_the_order():
    one, turned = [record(1), record(2)], [record(2), record(1)]

    assert reference_fingerprint(one, None) == reference_fingerprint(turned, None)
    prints = {
        reference_fingerprint(one, None),
        reference_fingerprint([record(1), record(3)], None),
        reference_fingerprint(one, "stem"),
        reference_fingerprint([record(1)], None),
    }
    assert len(prints) == 4
    assert given(1, 2).provenance == {
        "references": 2,
        "reference_set": reference_fingerprint(one, None),
    }
