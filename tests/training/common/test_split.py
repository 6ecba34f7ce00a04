"""The split holds out whole styles, chosen by a hash of each or by a key of the records."""

from megastyle_cli.core.record import Failure
from megastyle_cli.training.common.split import held_out_styles, separate_failures


def labelled(*styles):
    return [({"id": style}, style) for style in styles]


def test_the_share_of_held_out_styles_is_about_the_holdout():
    styles = [f"s{n}" for n in range(2000)]
    for holdout in (0.0, 0.1, 0.5):
        held_out = held_out_styles(labelled(*styles), holdout=holdout, split_key=None, seed=0)
        assert abs(len(held_out) / 2000 - holdout) < 0.03


def test_a_larger_holdout_keeps_the_styles_of_a_smaller_one():
    styles = labelled(*(f"s{n}" for n in range(200)))
    small, large = (
        held_out_styles(styles, holdout=share, split_key=None, seed=0) for share in (0.1, 0.3)
    )

    assert small < large


def test_another_seed_holds_out_other_styles():
    styles = labelled(*(f"s{n}" for n in range(200)))
    one, other = (
        held_out_styles(styles, holdout=0.3, split_key=None, seed=seed) for seed in (0, 1)
    )

    assert one != other


def test_a_style_is_held_out_if_any_of_its_records_says_so():
    records = [
        ({"split": "train"}, "a"),
        ({"split": "heldout"}, "a"),
        ({"split": "train"}, "b"),
        ({}, "c"),
    ]

    assert held_out_styles(records, holdout=0.9, split_key="split", seed=0) == {"a"}


def test_records_and_failures_keep_their_order():
    first, second = Failure({}, "bad_json", "line 2"), Failure({}, "bad_json", "line 4")

    records, failures = separate_failures([{"id": "1"}, first, {"id": "3"}, second])

    assert [record["id"] for record in records] == ["1", "3"] and failures == [first, second]
