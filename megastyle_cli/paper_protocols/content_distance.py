"""How far an image has moved from its content image, by DINOv2's patches.

CSGO reports a content alignment score of this kind, without code and without the size of the model,
the layer and the norm. All of them are fixed here, so values are not to be compared with CSGO's.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, batched
from megastyle_cli.evaluate.labels import label_of
from megastyle_cli.io.images import ImageReader
from megastyle_cli.paper_protocols.intervals import mean_of, rounded
from megastyle_cli.retrieval.embed import Array

BATCH = 16
MAX_CONTENTS = 256  # whose patches are kept: 0.8 MB each for DINOv2-base
LEAST_DEVIATION = 1e-6  # of a channel that is equal everywhere

# n images, p patches, d channels


def normalized_patches(patches: Array) -> Array:
    """Patches (n, p, d) with mean 0 and deviation 1 over p in each channel of each image."""
    centered = patches - patches.mean(axis=1, keepdims=True)
    deviation = centered.std(axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(deviation, LEAST_DEVIATION))


def patch_distance(one: Array, other: Array) -> float:
    """The mean squared difference of normalized patches (p, d), in [0, 4]."""
    return float(((one - other) ** 2).mean(dtype=np.float64))


def content_distance(
    records: Iterable[Record], model: Any, *, label: str, seed: int
) -> tuple[Record, list[Failure]]:
    """The mean distance of images and their content images, and the images that cannot be read.

    `random` is that with the content image before it in the input. Raises MegastyleError if no
    record has a `content_file_name`.
    """
    contents = _Contents(model)
    values: list[float] = []
    others: list[float] = []
    styles: list[str] = []
    failures: list[Failure] = []
    having = (record for record in records if isinstance(record.get("content_file_name"), str))
    before: str | None = None
    for batch in batched(having, BATCH):
        patches = _patches(batch, "file_name", model)
        for record, own in zip(batch, patches, strict=True):
            content = contents.get(record)
            bad = next((each for each in (own, content) if isinstance(each, BadRecord)), None)
            if bad is not None or isinstance(own, BadRecord) or isinstance(content, BadRecord):
                failures.append(Failure.of(record, bad or BadRecord("bad_image", "no image")))
                continue
            values.append(patch_distance(own, content))
            name = record["content_file_name"]
            styles.append(label_of(record, label) or str(record["id"]))
            if before not in (None, name):
                other = contents.get({**record, "content_file_name": before})
                if not isinstance(other, BadRecord):
                    others.append(patch_distance(own, other))
            before = name
    if not values and not failures:
        raise MegastyleError(
            "no image has a content_file_name",
            hint="content-distance is for images that were restyled: megastyle transfer",
        )
    found = mean_of(np.array(values), styles, seed)
    if others:
        found["random"] = rounded(float(np.mean(others)))
    return found | {"images": len(values)}, failures


class _Contents:
    """The normalized patches of content images; the last `MAX_CONTENTS` are kept."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[str, Array | BadRecord] = {}

    def get(self, record: Record) -> Array | BadRecord:
        name = record["content_file_name"]
        if name not in self._known:
            while len(self._known) >= MAX_CONTENTS:
                del self._known[next(iter(self._known))]
            (self._known[name],) = _patches([record], "content_file_name", self._model)
        return self._known[name]


def _patches(records: Sequence[Record], key: str, model: Any) -> list[Array | BadRecord]:
    """The normalized patches (p, d) of the image under `key` of each record, in order."""
    images = ImageReader().read_key(records, key)
    opened = [image for image in images if not isinstance(image, BadRecord)]
    rows = iter(normalized_patches(model.embed_patches(opened)) if opened else ())
    return [image if isinstance(image, BadRecord) else next(rows) for image in images]
