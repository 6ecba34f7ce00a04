"""N-gram sets against plain Python; common n-grams are marked by how many texts have them."""

import random
import re
from typing import Any

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup import ngrams
from megastyle_cli.dedup.config import PRESETS, NearConfig
from megastyle_cli.dedup.exact import normalize, normalize_block
from megastyle_cli.dedup.ngrams import MAX_IGNORED, mark_common, ngram_sets
from tests.dedup.helpers import (
    ODD,
    WORDS,
    captions,
    decide_near,
    odd_texts,
    pairs_of,
    plain_texts,
    prompts,
)

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


@pytest.mark.parametrize(
    ("texts", "share", "needed"), [(10, 0.4, 4), (10, 0.41, 5), (10, 0.05, 3), (4, 1.0, 4)]
)
def test_an_ngram_is_common_from_the_share_and_three_texts_on(
    texts: int, share: float, needed: int
) -> None:
    hashes = np.array([(value << 12) + 1 for value in range(1, 5) for _ in range(value)], np.uint32)

    mark_common(hashes, texts, share)

    by_count = {value >> 12: value & 1 for value in hashes.tolist()}
    assert by_count == {count: int(count >= needed) for count in range(1, 5)}


def test_marking_keeps_hashes_distinct_sorted_and_independent_of_the_order_of_texts() -> None:
    texts = captions() + prompts(300, seed=4)
    shuffled = random.Random(0).sample(texts, len(texts))
    sets_of = []
    for some in (texts, shuffled):
        hashes, starts = ngram_sets(normalize_block(StringArray.from_strings(some)), 1)
        mark_common(hashes, len(some), 0.2)
        sets = [hashes[starts[row] : starts[row + 1]].tolist() for row in range(len(some))]
        assert all(one == sorted(set(one)) for one in sets)
        sets_of.append(dict(zip(some, sets, strict=True)))

    assert sets_of[0] == sets_of[1]
    marked = {value for one in sets_of[0].values() for value in one if value & 1}
    assert 5 < len(marked) < 40


def test_captions_of_one_template_that_differ_in_one_attribute_are_kept_by_default() -> None:
    near = PRESETS["styles"][1]

    assert pairs_of(decide_near(captions(), near)) == []
    assert len(pairs_of(decide_near(captions(), NearConfig()))) > 100  # plain words would not
    changed = [caption.replace(", ", " , ", 1).upper() for caption in captions()]
    assert len(pairs_of(decide_near(captions() + changed, near))) == len(changed)


@pytest.mark.parametrize("count", [2, 3, 50])
def test_variants_of_one_long_prompt_are_dropped_though_all_share_its_words(count: int) -> None:
    words = [f"{a}{b}" for a in WORDS[:20] for b in ("x", "y")]
    texts = [" ".join([*words[:at], "other", *words[at + 1 :]]) for at in range(1, count)]

    found = decide_near([" ".join(words), *texts], PRESETS["styles"][1])

    assert pairs_of(found) == [(row, 0) for row in range(1, count)]


def test_at_most_the_stated_number_of_common_words_is_ignored() -> None:
    # prompts of `length` words of which one differs: 20 ignored words leave length - 21 shared
    def dropped(length: int) -> int:
        words = [f"word{n}" for n in range(length - 1)]
        texts = [" ".join([*words, f"own{row}"]) for row in range(6)]
        return len(pairs_of(decide_near(texts, NearConfig(threshold=0.72, template=0.2))))

    # (length - 21) / (length - 19) >= 0.72 from 27 words on: 6 / 8 = 0.75, 5 / 7 = 0.71
    assert MAX_IGNORED == 20
    assert [dropped(length) for length in (20, 26, 27, 40)] == [0, 0, 5, 5]
