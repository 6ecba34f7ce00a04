"""A mean has an interval over styles."""

import numpy as np
import pytest

from megastyle_cli.paper_protocols.intervals import mean_of, rounded


def test_mean_and_interval_are_in_the_scale_of_the_protocol():
    values, styles = np.array([0.1, 0.3, 0.5, 0.7]), ["a", "a", "b", "b"]

    plain, scaled = mean_of(values, styles, 0), mean_of(values, styles, 0, 100.0)

    assert plain["value"] == 0.4 and scaled["value"] == 40
    assert (plain["low"], plain["high"]) == (0.2, 0.6)  # a style is drawn whole
    assert (scaled["low"], scaled["high"]) == (20, 60)


def test_values_that_are_not_known_are_left_out():
    assert mean_of(np.array([0.2, np.nan]), ["a", "b"], 0) == {"value": 0.2}
    assert mean_of(np.array([np.nan]), ["a"], 0) == {"value": None}


def test_zero_has_no_sign():
    assert str(rounded(-1e-9)) == "0.0" and rounded(0.123456) == pytest.approx(0.1235)
