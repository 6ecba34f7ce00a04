"""A projection that was fitted on descriptors of pictures, and is shipped in weights/.

d is the width of the descriptor, w that of the style vector.
"""

from hashlib import sha256
from importlib.resources import files
from json import loads

import numpy as np
from safetensors.numpy import load

from megastyle_cli.models.builtin.histograms import Array

_WEIGHTS = files("megastyle_cli.models.builtin") / "weights"


class FittedProjection:
    """`middle` (d,) and `projection` (d, w) of a safetensors file in weights/.

    `digest` is 8 hex digits over the file.
    """

    def __init__(self, file_name: str) -> None:
        content = (_WEIGHTS / file_name).read_bytes()
        weights = load(content)
        self.digest = sha256(content).hexdigest()[:8]
        self._middle = weights["middle"].astype(np.float64)
        self._projection = weights["projection"].astype(np.float64)

    def unit_vector(self, descriptor: Array) -> Array:
        """The style vector (w,) float32 of a descriptor (d,), of length 1."""
        # one at a time and summed by numpy: BLAS may round a row depending on the others
        vector = np.einsum("i,ij->j", descriptor - self._middle, self._projection)
        unit: Array = (vector / np.sqrt((vector * vector).sum())).astype(np.float32)
        return unit


def fitted_styles() -> dict[str, list[str]]:
    """The styles that projections were fitted on: `icons` (families), and `paintings`."""
    styles: dict[str, list[str]] = loads((_WEIGHTS / "trained_on.json").read_text())
    return styles
