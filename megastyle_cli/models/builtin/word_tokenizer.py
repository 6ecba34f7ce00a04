"""Tokens of texts, word by word: prompts repeat their words, and most are tokenized only once."""

from collections.abc import Sequence

from tokenizers import Tokenizer

MAX_CHARACTERS = 1 << 19  # of the words that are kept: some 20 MB
_SPACE = "\u2581"  # as the tokenizer writes a space


class WordTokenizer:
    """The same token numbers as `tokenizer`, without special tokens.

    `tokenizer` must be one of byte-pair encoding that reads a word after a space as it reads the
    word alone: it writes a space before a text, and no token has a space after another character.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._known = dict[str, list[int]]()
        self._characters = 0

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The token numbers of each text."""
        split = [text.split(" ") if _is_plain(text) else None for text in texts]
        self._learn({word for words in split if words for word in words})
        others = [text for text, words in zip(texts, split, strict=True) if words is None]
        encoded = iter(self._encode(others))
        known = self._known
        return [
            next(encoded) if words is None else [token for word in words for token in known[word]]
            for words in split
        ]

    def _learn(self, words: set[str]) -> None:
        new = words - self._known.keys()
        if self._characters + sum(map(len, new)) > MAX_CHARACTERS:
            self._known.clear()
            self._characters, new = 0, words
        self._known.update(zip(new, self._encode(list(new)), strict=True))
        self._characters += sum(map(len, new))

    def _encode(self, texts: list[str]) -> list[list[int]]:
        if not texts:
            return []
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [tokens.ids for tokens in encoded]


def _is_plain(text: str) -> bool:
    """Whether a text consists of words with one space between them, and no special token."""
    is_spaced = "  " in text or text[:1] == " " or text[-1:] == " "
    return bool(text) and not is_spaced and "<" not in text and _SPACE not in text
