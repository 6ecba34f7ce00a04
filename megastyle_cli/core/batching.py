"""Batches of texts, limited in number and in characters."""

from collections.abc import Iterable, Iterator

MAX_CHARACTERS = 1 << 22


def text_batches(
    texts: Iterable[str], max_texts: int, max_characters: int = MAX_CHARACTERS
) -> Iterator[list[str]]:
    """The texts in order; a batch ends at `max_texts` or with the text that fills its characters.

    A batch may exceed `max_characters` by less than its last text.
    """
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if len(batch) == max_texts or characters >= max_characters:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
