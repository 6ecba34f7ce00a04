"""Arrays of strings behave as the lists of their strings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.compute.string_array import StringArray, count_lines

# lone surrogates stand for bytes of file names that are not UTF-8
TEXTS = st.lists(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=9))


def encoded(texts: list[str]) -> list[bytes]:
    return [text.encode("utf-8", "surrogatepass") for text in texts]


@given(TEXTS)
def test_the_texts_come_back(texts: list[str]) -> None:
    array = StringArray.from_strings(texts)

    assert len(array) == len(texts)
    assert list(array) == encoded(texts)
    assert list(StringArray.from_bytes(encoded(texts))) == encoded(texts)


@given(TEXTS, st.data())
def test_slices_and_rows_are_those_of_a_list(texts: list[str], data: st.DataObject) -> None:
    array = StringArray.from_strings(texts)
    first = data.draw(st.integers(0, len(texts)))
    end = data.draw(st.integers(first, len(texts)))
    rows = data.draw(st.lists(st.sampled_from(range(len(texts))))) if texts else []

    assert list(array.slice(first, end)) == encoded(texts)[first:end]
    assert list(array.take(np.array(rows, np.int64))) == [encoded(texts)[row] for row in rows]


@given(st.lists(TEXTS))
def test_concatenated_arrays_hold_all_texts(parts: list[list[str]]) -> None:
    joined = StringArray.concatenate([StringArray.from_strings(texts) for texts in parts])

    assert list(joined) == [text for texts in parts for text in encoded(texts)]


@given(st.binary())
def test_newlines_are_counted(data: bytes) -> None:
    assert count_lines(data) == data.count(b"\n")
