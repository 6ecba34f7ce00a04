"""N-gram sets against plain Python."""

import re
from typing import Any

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup import ngrams
from megastyle_cli.dedup.exact import normalize, normalize_block
from megastyle_cli.dedup.ngrams import ngram_sets
from tests.dedup.helpers import ODD, odd_texts, plain_texts

UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s!-/:-@\[-^`{{-~]")


def plain_ngrams(text: str, ngram: int, of: str) -> set[tuple[str, ...]]:
    text = normalize(text)
    units = (WORD.findall(text) or [text]) if of == "words" else list(text)
    return {tuple(units[at : at + ngram]) for at in range(max(1, len(units) - ngram + 1))}


@pytest.mark.parametrize("of", ["words", "characters"])
@pytest.mark.parametrize("ngram", [1, 2, 24])
def test_ngram_sets_are_those_of_plain_python(ngram: int, of: Any) -> None:
    texts = odd_texts(300, seed=ngram) + plain_texts(100, seed=ngram)
    texts += ["one two three", "one two", "!!!", "a_b c-d", "", "\u00e9 one two", "ends in \0word"]
    texts += [" ".join(f"w{n}" for n in range(count)) for count in (63, 64, 65, 66)]
    plain = [plain_ngrams(text, ngram, of) for text in texts]

    hashes, starts = ngram_sets(normalize_block(StringArray.from_strings(texts)), ngram, of)

    sets = [hashes[starts[row] : starts[row + 1]].tolist() for row in range(len(texts))]
    assert all(one == sorted(set(one)) for one in sets)
    assert [len(one) for one in sets] == [len(one) for one in plain]
    for one in range(0, len(texts), 3):
        for two in range(0, len(texts), 5):
            assert len({*sets[one]} & {*sets[two]}) == len(plain[one] & plain[two])


def test_every_text_has_an_ngram_and_its_hashes_do_not_depend_on_the_other_texts() -> None:
    hashes, starts = ngram_sets(normalize_block(StringArray.from_strings(ODD)), 3)
    alone = [ngram_sets(normalize_block(StringArray.from_strings([text])), 3)[0] for text in ODD]

    assert (np.diff(starts) > 0).all()
    for row, own in enumerate(alone):
        assert np.array_equal(hashes[starts[row] : starts[row + 1]], own)


def test_order_within_an_ngram_counts() -> None:
    hashes, _ = ngram_sets(StringArray.from_strings(["red fox", "fox red"]), 2)

    assert len(set(hashes.tolist())) == 2


def test_characters_are_classified_as_the_pattern_of_words_does() -> None:
    classes = ngrams._character_classes(0x110000)
    for code in [*range(0x3000), *range(0x3000, 0x110000, 97), 0xD800, 0xFFFF]:
        found = WORD.findall(chr(code))
        assert (classes[code] != ngrams._SEPARATOR) == bool(found), hex(code)
        is_joined = len(WORD.findall(f"a{chr(code)}a")) == 1
        assert (classes[code] == ngrams._IN_WORD) == is_joined, hex(code)
