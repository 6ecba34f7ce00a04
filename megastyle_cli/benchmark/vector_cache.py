"""Vectors of pictures by pixel hash, cached by encoder: another system costs one system."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megastyle_cli.benchmark.transforms import BY_TIER
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import batched
from megastyle_cli.io.embedding_cache import EmbeddingCache
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.retrieval.embed import BATCH, Array, embed_images


@dataclass(frozen=True, kw_only=True)
class LoadedEncoder:
    """An encoder with the reader that opens images for it.

    `fingerprint` names everything that its vectors depend on besides the pixels.
    """

    encoder: StyleEncoder
    reader: ImageReader
    fingerprint: str


def encode_pictures(
    names: Mapping[str, str], loaded: LoadedEncoder, *, change: str = "", cache: Path | None = None
) -> dict[str, Array]:
    """The unit vector (d,) of each picture, by its pixel hash; NaN where the encoder failed.

    `names` has a file for each pixel hash. With `change`, a tier of `transforms`, pictures are
    changed first.
    """
    width = _width(loaded.encoder)
    changed = BY_TIER.get(change)

    def embed(hashes: Sequence[str]) -> Array:
        files = [names[each] for each in hashes]
        images = loaded.reader.read(files)
        if changed is not None:
            images = [each if isinstance(each, BadRecord) else changed(each) for each in images]
        rows = embed_images(images, files, loaded.encoder)
        missing = np.full(width, np.nan, np.float32)
        return np.stack([missing if isinstance(row, BadRecord) else row for row in rows])

    found: dict[str, Array] = {}
    kind = f"{loaded.fingerprint} {change}".strip()
    with EmbeddingCache(cache, kind, embed) if cache else nullcontext(embed) as vectors_of:
        for hashes in batched(names, BATCH):
            found |= zip(hashes, vectors_of(hashes), strict=True)
    return found


def _width(encoder: StyleEncoder) -> int:
    from PIL import Image

    return int(encoder.embed([Image.new("RGB", (64, 64), "grey")]).shape[1])
