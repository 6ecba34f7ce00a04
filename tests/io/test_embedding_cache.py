"""Cached embeddings: the same bits, made once, also after a kill or beside another process."""

import os
from collections.abc import Sequence
from errno import EIO, ENOSPC
from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io import embedding_cache
from megastyle_cli.io.embedding_cache import EmbeddingCache

TEXTS = ["", "teal", "\ud800", "\0", "a" * 100_000, *(f"text {n}" for n in range(2000))]


class Embedder:
    """Rows that depend on the text; records the texts it was given."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        seeds = [[len(text), *text[:9].encode("utf-8", "surrogatepass")] for text in texts]
        rows = [np.random.default_rng(seed).standard_normal(8, np.float32) for seed in seeds]
        return np.array(rows, np.float32).reshape(-1, 8)


def test_a_later_run_reads_the_same_bits_and_embeds_nothing(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        first = cache(TEXTS)
    later = Embedder()

    with EmbeddingCache(tmp_path, "m", later) as cache:
        rows = cache(TEXTS[::-1])

    assert later.asked == [] and cache.num_found == len(TEXTS)
    assert np.array_equal(rows[::-1], first) and np.array_equal(first, Embedder()(TEXTS))


def test_only_missing_texts_are_embedded_and_rows_keep_their_order(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(TEXTS[::2])
    later = Embedder()

    with EmbeddingCache(tmp_path, "m", later) as cache:
        rows = cache(TEXTS)

    assert later.asked == TEXTS[1::2]
    assert np.array_equal(rows, Embedder()(TEXTS))


def test_models_do_not_share_rows(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(TEXTS)
    other = Embedder()

    with EmbeddingCache(tmp_path, "n", other) as cache:
        cache(TEXTS)

    assert other.asked == TEXTS


def test_a_segment_without_keys_is_ignored(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(TEXTS)
    for keys in cache.folder.glob("*.keys.npy"):
        keys.unlink()  # what a kill between the two renames leaves
    later = Embedder()

    with EmbeddingCache(tmp_path, "m", later) as cache:
        cache(TEXTS)

    assert later.asked == TEXTS


def test_full_segments_are_saved_without_a_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "MAX_SEGMENT", 100)
    cache = EmbeddingCache(tmp_path, "m", Embedder())
    for start in range(0, 250, 50):
        cache(TEXTS[start : start + 50])
    later = Embedder()

    with EmbeddingCache(tmp_path, "m", later) as again:
        again(TEXTS[:250])

    assert later.asked == TEXTS[200:250]


def test_no_texts_have_no_rows(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        assert cache([]).shape == (0, 8)


@pytest.mark.parametrize("kind", ["keys", "vectors"])
@pytest.mark.parametrize("content", [b"no array", b"", b"\x93NUMPY\1\0\2\0(\n"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str, content: bytes) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(TEXTS)
    next(cache.folder.glob(f"*.{kind}.npy")).write_bytes(content)

    with pytest.raises(MegastyleError, match="is damaged"):
        EmbeddingCache(tmp_path, "m", Embedder())


def test_new_rows_are_saved_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "SAVE_S", 0.0)
    found: list[int] = []
    killed = EmbeddingCache(tmp_path, "m", Embedder())
    killed(["a", "b"])  # never closed, as after SIGKILL
    (killed.folder / ".half.vectors.npy.tmp").write_bytes(b"incomplete")

    with EmbeddingCache(tmp_path, "m", Embedder(), found.append) as cache:
        cache(["a", "b", "c"])

    assert cache.num_found == 2 and found == [2]


def test_vectors_of_another_width_are_an_error(tmp_path: Path) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(TEXTS)

    def wider(texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 9), np.float32)

    with (
        EmbeddingCache(tmp_path, "m", wider) as cache,
        pytest.raises(MegastyleError, match=r"different widths: \[8, 9\]"),
    ):
        cache(["new", *TEXTS])


def test_a_full_disk_is_not_taken_for_a_wrong_folder(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, "m", Embedder())
    (name,) = tmp_path.glob("*/model.txt")
    name.unlink()
    name.symlink_to("/dev/full")

    with pytest.raises(OSError) as caught:
        EmbeddingCache(tmp_path, "m", Embedder())

    assert caught.value.errno == ENOSPC


@pytest.mark.parametrize("call", ["mkdir", "load"])
def test_neither_is_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with EmbeddingCache(tmp_path, "m", Embedder()) as cache:
        cache(["teal"])

    def fail(*_: object, **__: object) -> None:
        raise OSError(EIO, os.strerror(EIO))

    monkeypatch.setattr(Path if call == "mkdir" else np, call, fail)
    with pytest.raises(OSError) as caught:
        EmbeddingCache(tmp_path, "m", Embedder())

    assert caught.value.errno == EIO
