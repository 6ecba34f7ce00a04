"""Common n-grams are marked by how many texts have them, and nothing else changes."""

import random

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.common_ngrams import MAX_IGNORED, mark_common
from megastyle_cli.dedup.config import PRESETS, NearConfig
from megastyle_cli.dedup.exact import normalize_block
from megastyle_cli.dedup.ngrams import ngram_sets
from tests.dedup.helpers import WORDS, captions, decide_near, pairs_of, prompts


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
