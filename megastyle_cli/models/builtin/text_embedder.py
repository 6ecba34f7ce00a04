"""Texts to 256-d unit vectors: the mean of static token vectors from a package."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from megastyle_cli.compute.engine import text_batches
from megastyle_cli.models.builtin.packaged_weights import package_folder, packaged_file

Array = npt.NDArray[np.float32]

PACKAGE = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
BATCH = 1024
MANY_TEXTS = 2048  # from here on a table of float32, which sums twice as fast, is worth making
BATCH_CHARACTERS = 1 << 20  # the tokenizer needs about 200 bytes per token
MAX_CHARACTERS = 1 << 19  # of the words that are kept: some 20 MB
_SPACE = "\u2581"  # as the tokenizer writes a space


def replace_surrogates(text: str) -> str:
    """`text` with every unpaired surrogate, which no tokenizer accepts, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# At import, so that the registry reports a missing package.
package_folder(PACKAGE)


class StaticEmbedder:
    """The mean of a text's token vectors, scaled to length 1; no network, no torch.

    A mean ignores order: "teal with red" and "red with teal" are equal. The files are opened
    directly, since importing the package would configure logging and load a downloader.
    Source: the 256-d vectors of wordllama, trained on Llama 2's token table.
    """

    name = "wordllama-256"
    batch_size = BATCH
    is_parallel = False  # most of its time is Python's

    def __init__(self) -> None:
        self.tokenizer = _load_tokenizer()
        self.table = _load_table()
        self._words = WordTokenizer(self.tokenizer)
        self._num_texts = 0

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, 256); a text without tokens gets the first axis.

        A row depends on its text alone, bit for bit: float16 values add up exactly in float64.
        """
        self._num_texts += len(texts)
        if self._num_texts > MANY_TEXTS and self.table.dtype == np.float16:
            self.table = self.table.astype(np.float32)
        rows = np.empty((len(texts), self.table.shape[1]), np.float32)
        row = 0
        for batch in text_batches(map(replace_surrogates, texts), BATCH, BATCH_CHARACTERS):
            for tokens in self._words.encode(batch):
                rows[row] = self._unit(tokens)
                row += 1
        return rows

    def _unit(self, tokens: list[int]) -> Array:
        total = self.table[tokens].sum(axis=0, dtype=np.float64)  # (d,)
        length = np.sqrt((total * total).sum())
        if length == 0.0:
            total[0] = length = 1.0
        unit: Array = (total / length).astype(np.float32)
        return unit


@cache
def _load_tokenizer() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_file(str(packaged_file(PACKAGE, TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@cache
def _load_table() -> npt.NDArray[Any]:
    """The vector of each token, (tokens, 256) float16."""
    (table,) = load_file(packaged_file(PACKAGE, WEIGHTS)).values()
    return table


class WordTokenizer:
    """The same token numbers as `tokenizer`, without special tokens, word by word.

    Prompts repeat their words, so that most words are tokenized only once.

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
