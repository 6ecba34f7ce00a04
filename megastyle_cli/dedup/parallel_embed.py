"""Texts embedded call by call, side by side where the embedder allows it."""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

import numpy as np

from megastyle_cli.compute.engine import Engine
from megastyle_cli.models.registry import load

Array = np.ndarray[Any, np.dtype[np.float32]]

BATCH_SIZE = 1024  # texts a call, of an embedder without a batch_size
_held: dict[tuple[str, str | None], Any] = {}  # the embedders of this process
_loading = Lock()


def spread_embed(
    embedder: Any,
    backend: str,
    model: str | None,
    *,
    engine: Engine,
    advance: Callable[[int], None],
) -> Callable[[Sequence[str]], Array]:
    """What embeds texts over the engine's workers; `advance` is told how many it has done.

    A worker process of its own loads the model by its name. An embedder that is not to be spread
    works here.
    """
    _held[backend, model] = embedder
    batch_size = getattr(embedder, "batch_size", BATCH_SIZE)

    def embed(texts: Sequence[str]) -> Array:
        parts = [texts[low : low + batch_size] for low in range(0, len(texts), batch_size)] or [
            texts
        ]
        made: Iterable[Array]
        if getattr(embedder, "is_parallel", False):
            made = engine.map(_embed_part, parts, backend, model)
        else:
            made = map(embedder.embed, parts)
        rows = []
        for part in made:
            rows.append(part)
            advance(len(part))
        return np.concatenate(rows)

    return embed


def _embed_part(texts: Sequence[str], backend: str, model: str | None) -> Array:
    with _loading:
        if (backend, model) not in _held:
            named = {"model": model} if model else {}
            _held[backend, model] = load("text_embedder", backend, **named)
    rows: Array = _held[backend, model].embed(texts)
    return rows
