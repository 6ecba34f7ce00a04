"""Promises of array lists."""

import pytest

from megastyle_cli.core.array_list import array_list


@pytest.mark.parametrize(
    ("indexes", "expected"),
    [
        ([], ""),
        ([0], "0"),
        ([2, 5, 6, 7], "2,5-7"),
        ([0, 1, 2], "0-2"),
        ([1, 2, 4, 6, 7], "1-2,4,6-7"),
        ([7, 5, 6, 2, 5], "2,5-7"),
        ([998, 999, 1000], "998-1000"),
    ],
)
def test_runs_of_neighbors_become_ranges(indexes, expected):
    assert array_list(indexes) == expected


def test_a_list_names_each_number_once():
    numbers = {number for number in range(500) if number * number % 7 < 3}

    listed = [
        number
        for run in array_list(numbers).split(",")
        for number in range(int(run.split("-")[0]), int(run.split("-")[-1]) + 1)
    ]

    assert listed == sorted(numbers)
