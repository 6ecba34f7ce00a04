"""Feature extraction: one vector per model for each image, which is opened once per image size."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import ImageReader
from megastyle_cli.models.protocols import StyleEncoder
from megastyle_cli.retrieval.embed import Array, embed_images

if TYPE_CHECKING:
    from PIL.Image import Image

# role of a model ("style", "text", "content") -> its unit vector (d,) of an image
Features = dict[str, Array]
# a reader, and by role the encoders that take images at the size it returns
FeatureExtractors = Sequence[tuple[ImageReader, Mapping[str, StyleEncoder]]]
Opened = Sequence["list[Image | BadRecord]"]  # by reader, the images of all names


def read_images(names: Sequence[str], extractors: FeatureExtractors) -> Opened:
    """The images that the extractors take: for each reader those of all names."""
    return [reader.read(names) for reader, _ in extractors]


def extract_features(
    names: Sequence[str], extractors: FeatureExtractors, opened: Opened | None = None
) -> list[Features | BadRecord]:
    """The features of each named image, in order; BadRecord where one model has none.

    `opened` are the images, if `read_images` has read them before.
    """
    results: list[Features | BadRecord] = [{} for _ in names]
    given = read_images(names, extractors) if opened is None else opened
    for (_, encoders), images in zip(extractors, given, strict=True):
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
        for reader, encoders in extractors
    ]
    return [(reader, encoders) for reader, encoders in selected if encoders]
