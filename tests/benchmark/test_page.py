"""The page of a benchmark: what it shows of a table and of results by query."""

import pytest

from megastyle_cli.benchmark.page import (
    pair_matrix,
    style_values,
    tier_charts,
    worst_styles,
    write_page,
)
from megastyle_cli.benchmark.results_table import build_table
from tests.benchmark.test_results_table import results


@pytest.fixture(scope="module")
def lines():
    """Systems a and c are right in every other style, b in all."""
    found = results(24)
    for line in found:
        line["file_name"] = f"{line['style_id']}.png"
        line["neighbors"] = [{"id": "n", "file_name": f"found by {line['system']}.png"}]
    return found


@pytest.fixture(scope="module")
def table(lines):
    return build_table(lines, draws=300)


def test_charts_have_systems_with_ranks_best_first(table):
    tier = tier_charts(table, "plain")

    assert (tier.name, tier.num_queries) == ("plain", 24)
    chart = tier.charts[0]
    assert chart.label == "Recall@1" and [each.name for each in chart.values] == ["b", "a", "c"]
    best = chart.values[0]
    assert (best.value, best.rank, best.letters, best.is_best) == (1.0, "1", "a", True)
    assert best.has_interval and best.is_fitted and best.chance == 0.25


def test_without_intervals_a_value_is_its_own(lines):
    few = build_table([line for line in lines if int(line["id"][1:]) < 8])

    each = tier_charts(few, "plain").charts[0].values[1]

    assert not each.has_interval and each.low == each.value == each.high == 0.5


def test_the_matrix_is_antisymmetric_and_marks_what_is_told_apart(table):
    matrix = pair_matrix(table)

    assert matrix.names == ["b", "a", "c"]
    assert matrix.diff == [[0, 0.5, 0.5], [-0.5, 0, 0], [-0.5, 0, 0]]
    assert matrix.differs[0] == [False, True, True] and matrix.differs[1] == [True, False, False]


def test_one_system_has_no_pairs(lines):
    alone = build_table([line for line in lines if line["system"] == "a"], draws=100)

    assert pair_matrix(alone) is None


def test_styles_are_ordered_worst_first_and_a_missing_query_is_0(table, lines):
    gone = [line for line in lines if (line["system"], line["style_id"]) != ("b", "s2")]

    values = style_values(table, gone)

    assert values.systems == ["b", "a", "c"] and values.styles[0] == "s2"
    assert [row[0] for row in values.values] == [0, 0, 0]
    assert [row[-1] for row in values.values] == [1, 1, 1]


def test_the_worst_styles_show_a_query_and_what_systems_found(table, lines):
    found = worst_styles(table, lines, style_values(table, lines))

    assert len(found) == 12 and found[0].name == "s0" and found[0].picture == "s0.png"
    assert found[0].values == [("b", 1.0), ("a", 0.0), ("c", 0.0)]
    assert found[0].found == [
        ("b", "found by b.png", True),
        ("a", "found by a.png", False),
        ("c", "found by c.png", False),
    ]


def test_the_page_is_written(table, lines, tmp_path):
    write_page(tmp_path / "page.html", table, lines)

    text = (tmp_path / "page.html").read_text()
    assert "Benchmark b1: 3 systems" in text and "Pairs of systems" in text
