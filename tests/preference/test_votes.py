"""Votes from many hands: only those of this page count, and careless voters are found."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.preference.votes import read_votes, self_agreement, unreliable_voters
from tests.preference import made


@pytest.fixture
def key(tmp_path):
    return made.page(tmp_path)


def of_kind(key, kind):
    return [item for item, facts in key.items.items() if facts["kind"] == kind]


def test_left_and_right_become_the_picture_that_was_chosen(tmp_path, key):
    one, two, three, four = of_kind(key, "vote")[:4]
    chosen = [(one, "style", "left"), (two, "style", "right"), (three, "prompt", "tie")]
    path = made.save(tmp_path / "v.json", key, [*chosen, (four, "style", "neither")])
    turned = path.read_text().replace('"left": 0', '"left": 1')
    (tmp_path / "w.json").write_text(turned)

    found = read_votes([path], key, "page")

    assert [vote.chosen for vote in found] == [0, 1, None, None]
    assert [vote.is_failure for vote in found] == [False, False, False, True]
    assert [v.chosen for v in read_votes([tmp_path / "w.json"], key, "page")] == [1, 0, None, None]


def test_a_file_given_twice_and_an_earlier_one_of_a_voter_count_once(tmp_path, key):
    (item, *_) = of_kind(key, "vote")
    late = made.save(tmp_path / "a.json", key, [(item, "style", "right")])
    early = made.save(
        tmp_path / "b.json",
        key,
        [(item, "style", "left")],
        changes={"saved": "2026-10-31T10:00:00Z"},
    )

    found = read_votes([late, early, late], key, "page")

    assert [vote.chosen for vote in found] == [1]


def test_voters_below_four_fifths_of_the_controls_are_unreliable(tmp_path, key):
    controls = of_kind(key, "control")
    assert len(controls) == 3
    right = [(item, "style", "left") for item in controls]
    wrong = [(item, "style", "tie") for item in controls[:1]] + right[1:]
    paths = [
        made.save(tmp_path / "r.json", key, right, voter="right"),
        made.save(tmp_path / "w.json", key, wrong, voter="wrong"),
        made.save(tmp_path / "n.json", key, [(of_kind(key, "vote")[0], "style", "tie")], voter="n"),
    ]

    assert unreliable_voters(read_votes(paths, key, "page"), key) == ["wrong"]


def test_agreement_is_counted_over_comparisons_that_were_shown_twice(tmp_path, key):
    repeats = of_kind(key, "repeat")[:4]
    votes = [(item, "style", "left") for item in repeats]
    votes += [(key.items[item]["repeats"], "style", "left") for item in repeats[:2]]
    votes += [(key.items[repeats[2]]["repeats"], "style", "tie")]
    path = made.save(tmp_path / "v.json", key, votes)

    assert self_agreement(read_votes([path], key, "page"), key) == (2, 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "v.json holds no votes"),
        ({"page": "0" * 16}, "v.json holds votes for page 0000000000000000, but bench is page"),
        ({"version": 2}, "v.json has version 2"),
        ({"voter": None}, "v.json is damaged: voter is None"),
        ({"votes": [{"item": "x"}]}, "v.json is damaged: {'item': 'x'} is no vote"),
        ({"votes": ["x"]}, "v.json is damaged: x is no vote"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, key, changes, words):
    path = made.save(tmp_path / "v.json", key, [], changes=changes)

    with pytest.raises(MegastyleError, match=words):
        read_votes([path], key, "bench")
