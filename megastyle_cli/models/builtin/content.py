"""What a picture shows as a vector: how likely the ImageNet network finds each of its classes."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from megastyle_cli.models.builtin.imagenet import Array, ImagenetRecogniser, class_names
from megastyle_cli.models.builtin.threads import over_cores

LEAST = 1e-30  # a chance too small for float32 counts as this


class ContentDescriptor:
    """The network's scores of the 1000 classes: near for pictures of like things.

    It is not blind to style: photographs are recognised better than drawings.
    """

    name = "imagenet-classes"

    def __init__(self) -> None:
        self._recogniser = ImagenetRecogniser()

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, 1000) float32: the logarithms of the chances less their mean (ours)."""
        rows = over_cores(self._scores, pictures)
        return np.stack(rows) if rows else np.zeros((0, len(class_names())), np.float32)

    def _scores(self, picture: Image.Image) -> Array:
        logits = np.log(np.maximum(self._recogniser.probabilities(picture), np.float32(LEAST)))
        centred = logits - logits.mean()
        # equal chances for all classes would be no direction at all
        row: Array = centred / max(np.linalg.norm(centred), np.float32(1e-6))
        return row
