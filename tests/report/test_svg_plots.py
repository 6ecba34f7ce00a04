"""Plots: their axes and tick labels, and the positions of what they draw."""

import re
from html import unescape

import pytest

from megastyle_cli.report.svg_plots import Axis, bar, histograms, interval, round_axis
from tests.report.test_gallery import HOSTILE, Elements

FEW, MANY = [0.1, 0.1, 0.9, 0.9], [0.1] * 300 + [0.9] * 100


def labels(plot, where):
    """The tick labels along one edge of a plot, in order."""
    inside = re.search(rf'<div class="{where}" aria-hidden="true">(.*?)</div>', plot)[1]
    return re.findall("<span><i>(.*?)</i></span>", inside)


def attributes(plot, kind):
    """The attributes of the elements of one class."""
    found = [each for _, each in Elements(plot).tags]
    return [each for each in found if kind in each.get("class", "").split()]


@pytest.mark.parametrize(
    "low, high, most, edges, steps",
    [
        (-0.33, 1.0, 8, (-0.4, 1.0), 7),
        (0.0, 1.0, 10, (0.0, 1.0), 10),
        (0.7, 0.7, 8, (0.7, 0.7001), 1),
        (0.31, 0.32, 8, (0.31, 0.32), 5),
        (0, 0.147, 4, (0, 0.15), 3),
    ],
)
def test_an_axis_spans_its_values_in_few_round_steps(low, high, most, edges, steps):
    axis = round_axis(low, high, most)

    assert axis.low <= low + 1e-9 and axis.high >= high - 1e-9 and axis.steps <= most
    assert (axis.low, axis.high) == pytest.approx(edges) and axis.steps == steps


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (FEW, ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]),
        ([-0.33, 1.0], ["-0.4", "-0.2", "0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.31, 0.32], ["0.31", "0.312", "0.314", "0.316", "0.318", "0.32"]),
    ],
)
def test_tick_labels_are_the_values_of_the_axis_without_rounding_errors(values, expected):
    assert labels(histograms({"x": values}, "cosine"), "across") == expected


def test_tick_labels_of_the_heights_are_percentages_from_zero_up():
    plot = histograms({"few": FEW, "many": MANY}, "cosine")

    # one bin holds three quarters of the many, two hold half of the few
    assert labels(plot, "upward") == ["0 %", "20 %", "40 %", "60 %", "80 %"]
    grid = [float(line["y1"]) for line in attributes(plot, "grid")]
    assert grid == [100, 75, 50, 25, 0]


def heights(path):
    return [100 - float(y) for y in re.findall(r"V([\d.]+)H", path)]


def test_the_heights_of_a_histogram_are_shares_whatever_the_number_of_pairs():
    plot = histograms({"few": FEW, "many": MANY}, "cosine")

    few, many = (
        heights(found) for found in re.findall(r'<path class="series[01]" d="(.*?)"', plot)[:2]
    )

    # in percent of the axis, which ends at 80 %
    assert [h for h in few if h] == pytest.approx([62.5, 62.5])
    assert [h for h in many if h] == pytest.approx([93.75, 31.25])
    assert [h > 0 for h in few] == [h > 0 for h in many]


def test_a_line_marks_the_mean_of_each_histogram():
    plot = histograms({"few": FEW, "many": MANY}, "cosine")

    # from 0.1 to 0.9 the means 0.5 and 0.3 are at a half and a quarter
    assert [line["x1"] for line in attributes(plot, "mean")] == ["50.00", "25.00"]


def test_values_that_are_not_finite_are_left_out():
    plot = histograms({"x": [0.5, 0.7, float("nan"), float("inf")], "absent": [float("nan")]}, "c")

    assert "x: mean 0.600." in plot and "absent" not in plot
    assert histograms({"none": [float("nan")], "empty": []}, "c") == ""


def test_names_and_units_are_escaped():
    hostile, harmless = histograms({HOSTILE: FEW}, HOSTILE), histograms({"x": FEW}, "x")

    tags = [[tag for tag, _ in Elements(plot).tags] for plot in (hostile, harmless)]
    assert tags[0] == tags[1]
    assert HOSTILE in unescape(hostile)


def test_a_bar_goes_from_zero_to_its_value():
    axis = Axis(low=-1, high=1, steps=2)

    right, left = (attributes(bar(value, axis, 0.2), "full")[0] for value in (0.5, -0.5))

    assert (right["x"], right["width"]) == ("50.00", "25.00")
    assert (left["x"], left["width"]) == ("25.00", "25.00")
    assert attributes(bar(0.5, axis, 0.2), "mark")[0]["x1"] == "60.00"


def test_an_interval_shows_its_ends_its_value_and_what_is_random():
    axis = Axis(low=0, high=1, steps=10)

    plot = interval(0.5, 0.4, 0.7, 0.1, axis)

    full = attributes(plot, "full")[0]
    assert (full["x"], full["width"]) == ("40.00", "30.00")
    assert attributes(plot, "mark")[0]["x1"] == "50.00"
    assert attributes(plot, "chance")[0]["x1"] == "10.00"
    assert attributes(interval(0.5, 0.4, 0.7, None, axis), "chance") == []


def test_what_lies_outside_an_axis_is_drawn_at_its_end():
    axis = Axis(low=0, high=1, steps=10)

    assert [axis.at(value) for value in (-3, 0.25, 7)] == ["0.00", "25.00", "100.00"]
    assert axis.ticks == pytest.approx([n / 10 for n in range(11)])
