"""Keys, n-grams, sketches and Jaccard against plain Python."""

import random
import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup import ngrams as shingles
from megastyle_cli.dedup.exact import normalize, normalize_block, text_keys
from megastyle_cli.dedup.hash_index import HashIndex
from megastyle_cli.dedup.minhash import band_keys, hash_functions, sketches
from megastyle_cli.dedup.near import _may_reach, band_buckets, jaccard, merge_bands
from megastyle_cli.dedup.ngrams import ngram_sets

UNSPACED = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s!-/:-@\[-`{{-~]")


def odd_texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    ranges = [(0, 0x20), (0x20, 0x7F), (0x5D0, 0x5EA), (0x3040, 0x3060), (0x4E00, 0x4E20)]
    ranges += [
        (0xD800, 0xDFFF),
        (0x1F600, 0x1F640),
        (0x300, 0x36F),
        (0x2000, 0x206F),
        (0xC0, 0x17F),
    ]
    return [
        "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(rng.randint(0, 30)))
        for _ in range(count)
    ]


def plain_texts(count: int, seed: int) -> list[str]:
    """Printable ASCII, words of up to 20 letters, some of them again and again."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("ab_0Z", k=rng.randint(1, 20))) for _ in range(90)]
    return [
        "".join(rng.choice(words) + rng.choice(" .,-'") for _ in range(rng.randint(0, 120)))
        for _ in range(count)
    ]


def grams_of(text: str, ngram: int, of: str) -> set[tuple[str, ...]]:
    text = normalize(text)
    units = (WORD.findall(text) or [text]) if of == "words" else list(text)
    return {tuple(units[at : at + ngram]) for at in range(max(1, len(units) - ngram + 1))}


def random_sets(count: int, seed: int) -> tuple[list[set[int]], np.ndarray, np.ndarray]:
    rng = random.Random(seed)
    base = [rng.randrange(1 << 32) for _ in range(60)]
    sets: list[set[int]] = [set(rng.sample(base, rng.randint(1, 50))) for _ in range(count)]
    grams = np.array([gram for one in sets for gram in sorted(one)], np.uint32)
    return sets, grams, np.append(0, np.cumsum([len(one) for one in sets]))


def test_a_buffer_of_normalized_texts_holds_them() -> None:
    texts = odd_texts(2000, seed=0) + ["", " ", "A  b\t", "plain ascii ONLY", "\x1c x \x1f"]

    buffer = normalize_block(StringArray.from_strings(texts))

    held = [
        bytes(buffer.data[buffer.starts[row] : buffer.starts[row + 1]]) for row in range(len(texts))
    ]
    assert held == [normalize(text).encode("utf-8", "surrogatepass") for text in texts]


@pytest.mark.parametrize("of", ["words", "characters"])
@pytest.mark.parametrize("ngram", [1, 2, 24])
def test_ngram_sets_are_those_of_plain_python(ngram: int, of: Any) -> None:
    texts = odd_texts(300, seed=ngram) + plain_texts(100, seed=ngram)
    texts += ["one two three", "one two", "!!!", "a_b c-d", "", "é one two", "ends in a \0word"]
    plain = [grams_of(text, ngram, of) for text in texts]

    grams, starts = ngram_sets(normalize_block(StringArray.from_strings(texts)), ngram, of)

    ours = [set(grams[starts[row] : starts[row + 1]].tolist()) for row in range(len(texts))]
    assert [len(one) for one in ours] == [len(one) for one in plain]
    for one in range(0, len(texts), 3):
        for two in range(0, len(texts), 5):
            assert len(ours[one] & ours[two]) == len(plain[one] & plain[two])


def test_keys_tell_texts_apart_and_depend_on_the_text_alone() -> None:
    texts = odd_texts(3000, seed=4) + ["", "a", "a\0", "\0", "\0\0"]

    keys = text_keys(StringArray.from_strings(texts))

    by_text = dict(zip(texts, map(tuple, keys.tolist()), strict=True))
    assert len(set(by_text.values())) == len(by_text)
    for row in range(0, len(texts), 50):
        assert (
            tuple(text_keys(StringArray.from_strings([texts[row]]))[0].tolist())
            == by_text[texts[row]]
        )


def test_a_key_set_numbers_keys_as_a_dictionary_does() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 300, (20_000, 2)).astype(np.uint64)
    numbers: dict[tuple[int, int], int] = {}
    known = HashIndex()

    for start in range(0, len(keys), 777):
        block = keys[start : start + 777]
        expected = [numbers.setdefault(tuple(key), len(numbers)) for key in block.tolist()]
        assert known.add(block).tolist() == expected
    assert len(known) == len(numbers)


def test_jaccard_is_that_of_sets_and_no_sketch_refuses_a_pair_that_reaches() -> None:
    sets, grams, starts = random_sets(120, seed=2)
    bits = sketches(grams, starts)

    for one in range(len(sets)):
        for two in range(len(sets)):
            true = len(sets[one] & sets[two]) / len(sets[one] | sets[two])
            assert jaccard(grams, starts, one, two) == true
            assert _may_reach(bits, starts, one, two, true)


def test_bands_meet_as_often_as_minhash_promises() -> None:
    rng = np.random.default_rng(3)
    similarity, bands, rows, trials = 0.6, 8, 4, 1500
    shared, apart = 45, 15  # 45 / (45 + 2 * 15)
    met = 0
    for _ in range(trials):
        drawn = rng.choice(1 << 32, shared + 2 * apart, replace=False).astype(np.uint32)
        one, two = np.sort(drawn[: shared + apart]), np.sort(np.append(drawn[:shared], drawn[60:]))
        keys = band_keys(
            np.append(one, two), np.array([0, 60, 120]), hash_functions(8, 4, 0), bands
        )
        met += bool((keys[:, 0] == keys[:, 1]).any())
    expected = 1 - (1 - similarity**rows) ** bands

    assert abs(met / trials - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


def test_shared_keys_are_the_runs_of_equal_ones() -> None:
    keys = np.random.default_rng(5).integers(0, 60, 100).astype(np.uint32) + np.uint32(4e9)

    shared = band_buckets(keys)

    groups: dict[int, set[int]] = {}
    for row, number in zip(shared.rows.tolist(), shared.buckets.tolist(), strict=True):
        groups.setdefault(number, set()).add(row)
    plain = [set(np.flatnonzero(keys == key).tolist()) for key in np.unique(keys)]
    assert sorted(map(sorted, groups.values())) == sorted(
        sorted(one) for one in plain if len(one) > 1
    )
    assert len(shared.content_keys) == len(groups)


def test_texts_meet_in_a_bucket_if_they_share_a_key_and_the_same_texts_in_one_only() -> None:
    rng = np.random.default_rng(6)
    bands = rng.integers(0, 40, (6, 100)).astype(np.uint32)
    bands[3] = bands[0]  # the same texts under other keys
    bands[4] = 7 * bands[1] + 1
    share = {
        pair
        for band in bands.tolist()
        for pair in combinations(range(100), 2)
        if band[pair[0]] == band[pair[1]]
    }

    links = merge_bands(map(band_buckets, bands), 100)

    stands = [
        links.targets[links.starts[text] : links.starts[text + 1]].tolist() for text in range(100)
    ]
    meet = {pair for pair in combinations(range(100), 2) if {*stands[pair[0]]} & {*stands[pair[1]]}}
    assert meet == share
    members = [
        tuple(text for text in range(100) if b in stands[text]) for b in range(links.num_targets)
    ]
    assert len(set(members)) == len(members)


def test_rows_of_a_buffer_are_its_texts_at_those_places() -> None:
    texts = [*odd_texts(50, seed=7), "", "last"]
    chosen = [3, 3, 51, 0, 50]

    picked = StringArray.from_strings(texts).take(np.array(chosen))

    assert list(picked) == [texts[row].encode("utf-8", "surrogatepass") for row in chosen]
    assert list(StringArray.from_strings(texts).take(np.empty(0, np.int64))) == []


def test_characters_are_classed_as_the_pattern_classes_them() -> None:
    kinds = shingles._character_classes(0x110000)
    for code in [*range(0x3000), *range(0x3000, 0x110000, 97), 0xD800, 0xFFFF]:
        found = WORD.findall(chr(code))
        assert (kinds[code] != shingles._SEPARATOR) == bool(found), hex(code)
