"""Parallel embedding gives the vectors of one call, whatever the workers and batch sizes."""

from typing import Any

import numpy as np
import pytest

from megastyle_cli.compute.engine import LocalEngine
from megastyle_cli.dedup.semantic import parallel_embed
from megastyle_cli.models.registry import load
from megastyle_cli.runner.progress import Stage
from tests.models.encoders.test_sentence_embedder import TEXTS


class CountingStage(Stage):
    """Counts what it is advanced by."""

    def __init__(self) -> None:
        super().__init__("dedup", quiet=True, to_stdout=False)
        self.counts: list[int] = []

    def advance(self, count: int = 1) -> None:
        self.counts.append(count)


@pytest.mark.parametrize("backend", ["builtin", "sentence-transformers"])
@pytest.mark.parametrize(("workers", "batch_size"), [(1, 4), (3, 2)])
def test_workers_and_batch_size_change_no_bit_and_all_texts_are_counted(
    backend: str, workers: int, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder: Any = load("text_embedder", backend)
    texts = TEXTS[:9]
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    monkeypatch.setattr(embedder, "batch_size", batch_size)
    progress = CountingStage()

    with LocalEngine(workers) as engine:
        embed = parallel_embed(embedder, backend, None, engine=engine, progress=progress)
        rows = embed(texts)
        none = embed([])

    assert np.array_equal(rows, alone)
    assert none.shape == (0, rows.shape[1])
    assert sum(progress.counts) == len(texts) and max(progress.counts) == batch_size
