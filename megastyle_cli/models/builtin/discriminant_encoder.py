"""The builtin style encoder: hand-made statistics and those of an ImageNet network, projected.

Statistics of color, edges and texture tell icons and drawings apart, channel statistics of early
layers tell paintings and photographs apart. What is learned is one projection, in which what
varies within a style counts less; it was fitted on icons and on renderings of paintings.
"""

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin.fitted_projection import FittedProjection, fitted_styles
from megastyle_cli.models.builtin.histograms import Array
from megastyle_cli.models.builtin.imagenet import channel_statistics, descriptor_session
from megastyle_cli.models.builtin.style_descriptor import histogram_row

# Blocks of the network, counted from 1: the last ones of 56 and of 28 positions a side, and the
# third of those of 14.
LAYERS = (3, 5, 8)


class DiscriminantEncoder:
    """Style vectors (n, 256) float32, unit rows, of weights/CARD.md.

    Cosines of different styles are near 0 among icons: only compare them with each other.
    Source: linear discriminant analysis (Fisher 1936); examples/style_discriminants.py.
    """

    def __init__(self) -> None:
        self._projection = FittedProjection("style_discriminants.safetensors")
        self.name = f"style-discriminants@{self._projection.digest}"
        # for benchmarks: eval marks the rows of encoders that know their styles
        self.trained_on = tuple(sum(fitted_styles().values(), []))

    def embed(self, pictures: Sequence[Image]) -> Array:
        """One row per RGB image; the cosine of two rows is in [-1, 1]."""
        return np.stack(parallel_map(self._vector, pictures))

    def _vector(self, picture: Image) -> Array:
        return self._projection.unit_vector(describe(picture))


def describe(picture: Image) -> Array:
    """The descriptor (2076,) of an RGB image before the projection.

    Two unit vectors side by side: the histograms of WhitenedDescriptor, and mean and standard
    deviation of the channels of LAYERS.
    """
    network = channel_statistics(descriptor_session(LAYERS), picture)
    return np.concatenate([histogram_row(picture), network])
