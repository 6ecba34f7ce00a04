"""Normalization, keys and their numbers against plain Python."""

import numpy as np
import pytest

from megastyle_cli.compute.string_array import StringArray
from megastyle_cli.dedup.exact import (
    HashIndex,
    count_characters,
    normalize,
    normalize_block,
    text_keys,
)
from tests.dedup.helpers import ODD, odd_texts, plain_texts


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def test_a_normalized_block_holds_each_text_normalized() -> None:
    texts = [*odd_texts(2000, seed=0), *plain_texts(200, seed=1), *ODD]
    texts += ["", " ", "A  b\t", "plain ascii ONLY", "\x1c x \x1f", "a\x0bb", "a\x0eb", "[@`{Az"]

    block = normalize_block(StringArray.from_strings(texts))

    assert list(block) == [encoded(normalize(text)) for text in texts]


@pytest.mark.parametrize("texts", [[], [""], ["", " "]])
def test_blocks_without_a_character_are_normalized(texts: list[str]) -> None:
    block = normalize_block(StringArray.from_strings(texts))

    assert list(block) == [b""] * len(texts)
    assert count_characters(block).tolist() == [0] * len(texts)
    assert len(text_keys(block)) == len(texts)


def test_every_ascii_character_is_normalized_as_python_does_at_every_place() -> None:
    texts = [form.format(chr(code)) for code in range(128) for form in ("{}", "{}b", "a{}", "a{}b")]
    texts += [f"a{chr(code)}{chr(code)}b" for code in range(128)]

    block = normalize_block(StringArray.from_strings(texts))

    assert list(block) == [encoded(normalize(text)) for text in texts]


def test_normalization_removes_case_width_and_white_space_only() -> None:
    assert normalize(" Teal  on\n\uff2fchre ") == "teal on ochre"
    assert normalize("stra\u00dfe \ufb01ne") == "strasse fine"
    assert normalize("teal, ochre.") != normalize("teal ochre")


def test_characters_are_code_points() -> None:
    texts = [*ODD, *odd_texts(300, seed=2)]

    assert count_characters(StringArray.from_strings(texts)).tolist() == list(map(len, texts))


def test_keys_distinguish_texts_and_depend_on_the_text_alone() -> None:
    texts = list({*odd_texts(3000, seed=4), "", "a", "a\0", "\0", "\0\0"})
    texts += ["x" * size for size in range(2, 40)] + ["x" * 20 + "y", "x" * 7 + "y" + "x" * 13]

    keys = text_keys(StringArray.from_strings(texts))

    by_text = dict(zip(texts, map(tuple, keys.tolist()), strict=True))
    assert len(set(by_text.values())) == len(by_text) == len(texts)
    for row in range(0, len(texts), 50):
        alone = text_keys(StringArray.from_strings([texts[row]]))
        assert np.array_equal(alone[0], keys[row])


def test_a_change_of_any_byte_changes_both_halves_of_a_key() -> None:
    for size in (1, 7, 8, 9, 15, 16, 17, 30):
        text = bytes(range(65, 65 + size))
        changed = [text[:at] + b"~" + text[at + 1 :] for at in range(size)]

        keys = text_keys(StringArray.from_bytes([text, *changed]))

        for half in range(2):
            assert len(set(keys[:, half].tolist())) == size + 1


@pytest.mark.parametrize("block", [1, 777, 20_000])
@pytest.mark.parametrize("distinct", [30, 300])
def test_keys_are_numbered_as_a_dictionary_numbers_them(block: int, distinct: int) -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, distinct, (20_000, 2)).astype(np.uint64)[: 40 * block]
    numbers: dict[tuple[int, ...], int] = {}
    known = HashIndex()

    for start in range(0, len(keys), block):
        some = keys[start : start + block]
        expected = [numbers.setdefault(tuple(key), len(numbers)) for key in some.tolist()]
        assert known.add(some).tolist() == expected

    assert len(known) == len(numbers)


def test_keys_that_fall_in_one_slot_stay_apart() -> None:
    keys = np.array([[row << 40, 7] for row in range(5000)] * 2, np.uint64)  # equal low bits

    assert HashIndex().add(keys).tolist() == [*range(5000)] * 2


def test_keys_of_equal_first_halves_stay_apart() -> None:
    keys = np.array([[1, 2], [1, 3], [2, 2], [1, 2]], np.uint64)

    assert HashIndex().add(keys).tolist() == [0, 1, 2, 0]
