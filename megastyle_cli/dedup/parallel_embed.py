"""Embeds texts on the workers of an engine, where the embedder allows it."""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from megastyle_cli.compute.engine import Engine
from megastyle_cli.io.embedding_cache import EmbedTexts
from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import Stage

Array = np.ndarray[Any, np.dtype[np.float32]]

BATCH_SIZE = 1024  # texts per call of an embedder without a batch_size
_loaded: dict[tuple[str, str | None], Any] = {}  # the embedders of this process
_loading = Lock()


def parallel_embed(
    embedder: Any, backend: str, model: str | None, *, engine: Engine, progress: Stage
) -> EmbedTexts:
    """A function that embeds texts with `embedder`, in parallel on the engine's workers.

    A worker in another process loads the model by its name. An embedder without `is_parallel` runs
    in the calling thread.
    """
    _loaded[backend, model] = embedder
    batch_size = getattr(embedder, "batch_size", BATCH_SIZE)

    def embed(texts: Sequence[str]) -> Array:
        starts = range(0, max(1, len(texts)), batch_size)
        parts = [texts[low : low + batch_size] for low in starts]
        embedded: Iterable[Array] = map(embedder.embed, parts)
        if getattr(embedder, "is_parallel", False):
            embedded = engine.map(_embed_part, parts, backend, model)
        rows = []
        for part in embedded:
            rows.append(part)
            progress.advance(len(part))
        return np.concatenate(rows)

    return embed


def _embed_part(texts: Sequence[str], backend: str, model: str | None) -> Array:
    with _loading:
        if (backend, model) not in _loaded:
            named = {"model": model} if model else {}
            _loaded[backend, model] = load("text_embedder", backend, **named)
    rows: Array = _loaded[backend, model].embed(texts)
    return rows
