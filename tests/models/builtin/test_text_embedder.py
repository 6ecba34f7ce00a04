"""Static text embeddings: a mean that ignores order, on any text."""

import numpy as np
import pytest

from megastyle_cli.models.builtin.text_embedder import replace_surrogates
from megastyle_cli.models.registry import load


def test_word_order_does_not_matter():
    first, second = load("text_embedder", "builtin").embed(["red and teal", "teal and red"])

    assert np.array_equal(first, second)


def test_a_row_is_the_normalized_mean_of_its_token_vectors():
    embedder = load("text_embedder", "builtin")
    tokens = embedder.tokenizer.encode("layered paper", add_special_tokens=False).ids

    (row,) = embedder.embed(["layered paper"])

    mean = embedder.table[tokens].astype(np.float64).mean(axis=0)
    assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_a_text_without_tokens_gets_the_first_axis():
    (row,) = load("text_embedder", "builtin").embed([""])

    assert row.tolist() == [1.0] + [0.0] * 255


@pytest.mark.parametrize(
    ("text", "valid"),
    [("a\ud800b", "a\ufffdb"), ("\ud83c\udfa8", "\U0001f3a8"), ("plain", "plain")],
)
def test_unpaired_surrogates_are_replaced_and_pairs_are_joined(text, valid):
    assert replace_surrogates(text) == valid
