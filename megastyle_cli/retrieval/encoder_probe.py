"""A probe image, by whose vector a saved index recognizes the encoder that made it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.models.registry import FORMER_BUILTIN
from megastyle_cli.retrieval.embed import Array

if TYPE_CHECKING:
    from PIL.Image import Image

PROBE_PX = 96
SAME_COSINE = 0.999  # bfloat16 on a GPU and float32 on a CPU differ by up to 0.0005


def probe_image() -> "Image":
    """A fixed RGB image of a gradient, stripes and discs."""
    from PIL import Image

    y, x = np.mgrid[:PROBE_PX, :PROBE_PX]
    stripes = (x + 2 * y) // 8 % 2 * 255
    discs = ((x % 32 - 16) ** 2 + (y % 32 - 16) ** 2 < 81) * 255
    gradient = (x * 255) // (PROBE_PX - 1)
    return Image.fromarray(np.stack([gradient, stripes, discs], axis=2).astype(np.uint8))


def embed_probe(encoder: StyleEncoder) -> Array:
    """The vector (d,) of the probe image, as an index keeps it."""
    return np.asarray(encoder.embed([probe_image()])[0])


def check_same_encoder(
    where: str, made_by: str, saved_probe: Sequence[float], encoder: StyleEncoder, probe: Array
) -> None:
    """Raises MegastyleError unless `encoder` is the one that made the index at `where`.

    `made_by` is the name of the index's encoder and `saved_probe` its vector of the probe image,
    `probe` that of `encoder`. Names may differ before the fingerprint: a model folder may move.
    """
    is_same_name = made_by.rpartition("@")[2] == encoder.name.rpartition("@")[2]
    is_same_width = len(saved_probe) == len(probe)
    if is_same_name and is_same_width and float(np.dot(saved_probe, probe)) >= SAME_COSINE:
        return
    message = f"{where} was made with {made_by}, but the encoder is {encoder.name}"
    if not is_same_width:
        message += f": {len(saved_probe)} and {len(probe)} dimensions"
    elif is_same_name:
        message += ", whose vector of the probe image has changed"
    backend = FORMER_BUILTIN.get(made_by.partition("@")[0])
    options = f"--backend {backend}" if backend else "the --backend and --model of the index"
    raise MegastyleError(message, hint=f"give {options}, or build a new one")
