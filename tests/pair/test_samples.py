"""Samples drawn together are those of `random.Random`, number for number."""

import random

import numpy as np
import pytest

from megastyle_cli.compute.jit import choose_by_size
from megastyle_cli.pair.samples import samples

TEXTS = [f'[0,"{number * number}"]' for number in range(150)]


@pytest.mark.parametrize("records", [10, 5000])  # in plain Python, and compiled
@pytest.mark.parametrize(
    ("n", "k"),
    [
        *((400_000, 8), (100, 8), (86, 8), (85, 8), (3, 3), (1, 1), (22, 1), (5000, 0)),
        *((2**31, 3), (2**31 - 1, 3), (2**31, 56), (2**31, 57), (400_000, 300)),
    ],
)
def test_samples_are_those_of_the_standard_library(n: int, k: int, records: int) -> None:
    choose_by_size(records)
    texts = TEXTS

    found = list(samples(texts, n, k))

    expected = [random.Random(text).sample(range(n), k) for text in texts]
    assert np.array_equal(found, np.array(expected).reshape(len(texts), k).astype(np.int32))


def test_texts_may_have_any_length_and_any_characters() -> None:
    texts = ["", "\0", "\0\0\0\0\0", "\u00e9\U0001f3a8", "x" * 2431, "x" * 2433, "x" * 5000]

    found = list(samples(texts, 1000, 4))

    expected = [random.Random(text).sample(range(1000), 4) for text in texts]
    assert np.array_equal(found, np.array(expected, np.int32))
