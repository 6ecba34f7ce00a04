"""Texts a portion at a time: as many as are worth a call, and no more than memory should hold."""

from collections.abc import Iterable, Iterator

MAX_CHARACTERS = 1 << 22


def text_batches(
    texts: Iterable[str], most: int, letters: int = MAX_CHARACTERS
) -> Iterator[list[str]]:
    """The texts in order, at most `most` at a time; a portion ends with its `letters`-th letter."""
    portion: list[str] = []
    held = 0
    for text in texts:
        portion.append(text)
        held += len(text)
        if len(portion) == most or held >= letters:
            yield portion
            portion, held = [], 0
    if portion:
        yield portion
