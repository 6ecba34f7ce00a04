"""Static text embeddings: a mean that ignores order, on any text; words give the text's tokens."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from megastyle_cli.models.builtin import text_embedder
from megastyle_cli.models.builtin.packaged_weights import packaged_file
from megastyle_cli.models.builtin.text_embedder import (
    PACKAGE,
    TOKENIZER,
    WordTokenizer,
    replace_surrogates,
)
from megastyle_cli.models.registry import load

WORDS = [
    "ink",
    "wash,",
    "Teal",
    "caf\u00e9",
    "\u6c34\u5f69",
    "\U0001f3a8",
    "a\tb",
    "\u2581",
    "<s>",
    "\u00a0",
]


def test_word_order_does_not_matter():
    first, second = load("text_embedder", "builtin").embed(["red and teal", "teal and red"])

    assert np.array_equal(first, second)


def test_a_row_is_the_normalized_mean_of_its_token_vectors():
    embedder = load("text_embedder", "builtin")
    tokens = embedder.tokenizer.encode("layered paper", add_special_tokens=False).ids

    (row,) = embedder.embed(["layered paper"])

    mean = embedder.table[tokens].astype(np.float64).mean(axis=0)
    assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_the_weights_are_read_once_in_a_process() -> None:
    first, second = load("text_embedder", "builtin"), load("text_embedder", "builtin")

    assert first.table is second.table and first.tokenizer is second.tokenizer


def test_many_texts_have_the_vectors_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["layered paper", "ink wash on rough paper", ""]
    few = load("text_embedder", "builtin").embed(texts)
    monkeypatch.setattr(text_embedder, "MANY_TEXTS", 2)
    many = load("text_embedder", "builtin")

    rows = many.embed(texts)

    assert many.table.dtype == np.float32
    assert np.array_equal(rows, few)


def test_a_text_without_tokens_gets_the_first_axis():
    (row,) = load("text_embedder", "builtin").embed([""])

    assert row.tolist() == [1.0] + [0.0] * 255


@pytest.mark.parametrize(
    ("text", "valid"),
    [("a\ud800b", "a\ufffdb"), ("\ud83c\udfa8", "\U0001f3a8"), ("plain", "plain")],
)
def test_unpaired_surrogates_are_replaced_and_pairs_are_joined(text, valid):
    assert replace_surrogates(text) == valid


@pytest.fixture(scope="module")
def whole() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_file(str(packaged_file(PACKAGE, TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]


def test_no_token_goes_over_the_beginning_of_a_word(whole: Tokenizer) -> None:
    assert [token for token in whole.get_vocab() if re.search("[^\u2581]\u2581", token)] == []


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.lists(st.sampled_from([*WORDS, "", "<unk>ink"]), max_size=6).map(" ".join),
            st.text(max_size=20),
        ),
        max_size=4,
    )
)
def test_tokens_are_those_of_the_whole_text(whole: Tokenizer, texts: list[str]) -> None:
    words = WordTokenizer(whole)

    first, again = words.encode(texts), words.encode(texts)

    assert first == again == encoded(whole, texts)


def test_words_that_are_kept_are_limited(whole: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_embedder, "MAX_CHARACTERS", 12)
    words = WordTokenizer(whole)
    texts = ["ink wash", "teal and ochre", "ink and a longer text than is kept", "ink"]

    for text in texts:
        assert words.encode([text]) == encoded(whole, [text])

    assert list(words._known) == ["ink"]
