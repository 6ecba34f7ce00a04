"""The table as Markdown."""

import pytest

from megastyle_cli.benchmark.markdown import (
    label_of_measure,
    markdown,
    measures_of,
    ordered,
    rank_words,
    warnings,
)
from megastyle_cli.benchmark.results_table import build_table
from tests.benchmark.test_results_table import results


def test_rows_are_ordered_with_bold_winners_letters_and_marks():
    lines = markdown(build_table(results(), draws=500)).splitlines()

    assert lines[0] == "| system | rank | Recall@1 | same content first |"
    assert lines[2].startswith("| b* | 1 | **100.0** [100.0, 100.0] a | **0.0**")
    assert lines[3].startswith("| a* | 2-3 | 50.0 [") and lines[3].count(" b |") == 1
    assert lines[5] == "| (by chance) | | 25.0 | 12.5 |"
    text = "\n".join(lines[6:])
    assert "Benchmark b1 (recipe 2): 30 styles, 30 queries." in text
    assert "* a was fitted on 5 of these 30 styles" in text and "sign tests" not in text


def test_failures_few_groups_and_the_judge_are_told():
    few = results(8)
    few[0]["missing"] = 3
    for line in few:
        line["_megastyle"]["eval"]["judge"] = "builtin"

    text = markdown(build_table(few))

    assert "a lacks 3 pictures: they count as failed, none is left out." in text
    assert "Fewer than 20 styles (plain): too few for intervals" in text
    assert "Intervals: 95 %" not in text
    assert text.count("The judge of these pictures, builtin, was fitted on 5 of these 8") == 1


def test_one_picture_that_is_missing_is_one():
    table = {"benchmark": {}, "too_few_groups": [], "missing": {"a": 1}}

    assert list(warnings(table)) == ["a lacks 1 picture: it counts as failed, none is left out."]


def test_each_tier_has_its_table():
    more = [{**line, "tier": "near"} for line in results()]
    for line in more + (lines := results()):
        line["_megastyle"]["eval"]["near"] = "color histograms"

    table = build_table([*lines, *more], draws=100)
    text = markdown(table)

    assert "**plain** (30 queries)" in text and "**near** (30 queries)" in text
    assert measures_of(table, "near") == ["near.recall_1", "near.same_content_1"]
    assert "Near styles were chosen by color histograms." in text


def test_signs_of_markdown_in_a_name_are_escaped():
    lines = [{**line, "system": f"{line['system']}_|x"} for line in results()]

    assert "| b\\_\\|x* | 1 |" in markdown(build_table(lines, draws=100))


def test_low_values_are_first_where_they_are_better():
    lines = results()
    for line in lines:
        line["same_content_1"] = {"a": 0.5, "b": 0.9, "c": 0.1}[line["system"]]

    table = build_table(lines, draws=100)

    assert [each["name"] for each in ordered(table, "same_content_1")] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("map_csd_10", "mAP (CSD)@10"), ("csls_recall_1", "CSLS Recall@1"), ("other", "other")],
)
def test_measures_have_the_words_of_the_field(name, words):
    assert label_of_measure(name) == words


def test_ranks_are_ranges():
    assert (rank_words([2, 2]), rank_words([2, 4])) == ("2", "2-4")
