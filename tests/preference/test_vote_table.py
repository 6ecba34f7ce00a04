"""The table of votes: ranks as ranges, intervals where there are some."""

from megastyle_cli.preference.vote_table import vote_table

COUNTS = {"wins": 7, "losses": 3, "ties": 2, "both_fail": 1}


def test_each_question_has_its_systems():
    first = {"name": "a", "win_share": 0.75, "win_share_ci95": [0.6, 0.9], "rank": [1, 1]}
    second = {"name": "b", "win_share": 0.25, "win_share_ci95": [0.1, 0.4], "rank": [2, 3]}
    summary = {"voters": 2, "votes": 1234, "self_agreement": 0.9, "repeated": 10}
    summary["questions"] = {"style": {"systems": [first | COUNTS, second | COUNTS]}}

    head, _, titles, *rows = vote_table(summary).splitlines()

    assert head == "2 voters, 1,234 votes; 90 % of 10 repeated comparisons answered alike"
    assert titles.startswith("closer in style")
    assert rows[0].split() == ["a", "1", "75.0", "%", "[60.0,", "90.0]", "7", "3", "2", "1"]
    assert rows[1].split()[:2] == ["b", "2-3"]


def test_few_comparisons_have_no_ranks():
    row = {"name": "a", "win_share": 0.5} | COUNTS
    summary = {"voters": 1, "votes": 3, "self_agreement": None, "repeated": 0}

    text = vote_table(summary | {"questions": {"prompt": {"systems": [row]}}})

    assert text.splitlines()[-1].split() == ["a", "-", "50.0", "%", "7", "3", "2", "1"]
    assert "answered alike" not in text
