"""The style vector of the builtin painter's own network, as an encoder to compare others with.

It is what the painter is conditioned on: it may stand beside encoders, but not judge that painter.
Source: the style predictor of Ghiasi et al. 2017 (arXiv 1705.06830), trained on paintings and
textures.
"""

from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin.magenta import Array, style_vector

WIDTH = 100


class MagentaEncoder:
    """Unit vectors (n, 100) float32 of the network that reads a style for the builtin painter."""

    name = "magenta-style-vector"
    trained_on = ()

    def embed(self, pictures: Sequence[Image]) -> Array:
        """One row per RGB image; the cosine of two rows is in [-1, 1]."""
        rows = parallel_map(self._vector, pictures, limits_blas=True)
        return np.stack(rows) if rows else np.zeros((0, WIDTH), np.float32)

    @staticmethod
    def _vector(picture: Image) -> Array:
        vector = style_vector(picture)
        unit: Array = vector / max(np.linalg.norm(vector), np.float32(1e-6))
        return unit
