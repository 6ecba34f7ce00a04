"""Texts to 256-d unit vectors: the mean of static token vectors from a package."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from megastyle_cli.compute.engine import text_batches
from megastyle_cli.models.builtin.packaged_weights import package_folder, packaged_file
from megastyle_cli.models.builtin.word_tokenizer import WordTokenizer

Array = npt.NDArray[np.float32]

PACKAGE = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
BATCH = 1024
BATCH_CHARACTERS = 1 << 20  # the tokenizer needs about 200 bytes per token


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
        self.tokenizer = Tokenizer.from_file(str(packaged_file(PACKAGE, TOKENIZER)))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._words = WordTokenizer(self.tokenizer)
        (table,) = load_file(packaged_file(PACKAGE, WEIGHTS)).values()  # (tokens, d) float16
        self.table = table.astype(np.float32)  # sums twice as fast

    def embed(self, texts: Sequence[str]) -> Array:
        """Unit rows (n, 256); a text without tokens gets the first axis.

        A row depends on its text alone, bit for bit: float16 values add up exactly in float64.
        """
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
