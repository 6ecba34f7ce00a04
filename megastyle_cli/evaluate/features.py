"""Feature extraction: one vector per model for each image, which is opened once per image size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.core.record import batched
from megastyle_cli.io.images import ImageReader
from megastyle_cli.io.read_ahead import read_ahead
from megastyle_cli.models.protocols import Ranks, StyleEncoder
from megastyle_cli.retrieval.embed import Array, batch_size, computes_on_device, embed_images

if TYPE_CHECKING:
    from PIL.Image import Image

# role of a model ("style", "text", "content") -> its unit vector (d,) of an image
Features = dict[str, Array]
Opened = Sequence["list[Image | BadRecord]"]  # by reader, the images of all names


@dataclass(frozen=True)
class FeatureExtractors:
    """Readers, each with the encoders, by role, that take images at the size it returns.

    With `ranks` each process of a launcher opens and encodes a share of the images.
    """

    parts: Sequence[tuple[ImageReader, Mapping[str, StyleEncoder]]]
    ranks: Ranks | None = None

    @property
    def roles(self) -> list[str]:
        """The roles of all encoders."""
        return [role for _, encoders in self.parts for role in encoders]

    @property
    def is_ahead(self) -> bool:
        """Whether images are read ahead, since an encoder computes on a device meanwhile."""
        return any(computes_on_device(each) for _, found in self.parts for each in found.values())

    @property
    def batch_size(self) -> int:
        """The number of images worth a call of `extract_features`."""
        return batch_size(is_ahead=self.is_ahead, ranks=self.ranks)


def read_images(names: Sequence[str], extractors: FeatureExtractors) -> Opened:
    """The images that the extractors take: for each reader those of all names."""
    return [reader.read(names) for reader, _ in extractors.parts]


def extract_features(
    names: Sequence[str], extractors: FeatureExtractors, opened: Opened | None = None
) -> list[Features | BadRecord]:
    """The features of each named image, in order; BadRecord where one model has none.

    `opened` are the images, if `read_images` has read them before.
    """
    if extractors.ranks is not None:
        return extractors.ranks.map(names, extractors.roles)
    results: list[Features | BadRecord] = [{} for _ in names]
    given = read_images(names, extractors) if opened is None else opened
    for (_, encoders), images in zip(extractors.parts, given, strict=True):
        for role, encoder in encoders.items():
            for i, vector in enumerate(embed_images(images, names, encoder)):
                features = results[i]
                if isinstance(features, BadRecord):
                    continue
                if isinstance(vector, BadRecord):
                    results[i] = vector
                else:
                    features[role] = vector
    return results


def extract_share(
    names: Sequence[str], roles: Sequence[str], extractors: FeatureExtractors
) -> list[Features | BadRecord]:
    """The features of one process's share of images by the encoders of these roles, in order."""
    own = replace(select_roles(extractors, roles), ranks=None)
    read = partial(read_images, extractors=own)
    results: list[Features | BadRecord] = []
    for batch, opened in read_ahead(batched(names, own.batch_size), read, is_ahead=own.is_ahead):
        results += extract_features(batch, own, opened)
    return results


class FeatureCache:
    """The features of images by name. Keeps the last `max_size` names; None keeps all."""

    def __init__(self, extractors: FeatureExtractors, max_size: int | None = None) -> None:
        self.extractors, self.max_size = extractors, max_size
        self._features: dict[str, Features | BadRecord] = {}

    def get(self, names: Sequence[str]) -> list[Features | BadRecord]:
        """The features of each name, in order; only names that are not cached are opened."""
        new = [name for name in dict.fromkeys(names) if name not in self._features]
        self._features.update(zip(new, extract_features(new, self.extractors), strict=True))
        results = [self._features[name] for name in names]
        while self.max_size is not None and len(self._features) > self.max_size:
            del self._features[next(iter(self._features))]
        return results


def select_roles(extractors: FeatureExtractors, roles: Sequence[str]) -> FeatureExtractors:
    """The extractors with only the encoders of these roles."""
    selected = [
        (reader, {r: e for r, e in encoders.items() if r in roles})
        for reader, encoders in extractors.parts
    ]
    parts = [(reader, encoders) for reader, encoders in selected if encoders]
    return replace(extractors, parts=parts)
