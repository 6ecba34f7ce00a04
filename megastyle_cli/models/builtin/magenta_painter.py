"""The builtin painter and stylist: content images restyled by Magenta's networks, on any CPU."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.builtin.magenta import Array, style_vector, stylize
from megastyle_cli.models.protocols import PictureRequest

_UNLESS = "image: one is needed unless --model renders the"


class MagentaPainter:
    """Renders requests that have a content image and at least one reference."""

    name = "magenta"

    def __init__(self) -> None:
        self.styles = StyleVectorCache()

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image.Image]:
        """One RGB image per request, in order, rendered in parallel on all cores.

        Each has the proportions of its content image, and `long_side` if the request states one.
        Raises BadRecord (missing_key) before rendering anything if a request lacks an image.
        """
        contents = [_resized_content(request) for request in requests]
        jobs = list(zip(requests, contents, strict=True))
        return parallel_map(lambda job: _restyle(*job, self.styles), jobs, limits_blas=True)

    def restyle(self, requests: Sequence[PictureRequest]) -> list[Image.Image]:
        """Like `paint`: as a stylist it does the same."""
        return self.paint(requests)


class StyleVectorCache:
    """Style vectors by reference key, computed once; the least recently used is dropped."""

    def __init__(self, limit: int = 4096) -> None:
        self.computed = 0
        self._limit = limit
        self._vectors: OrderedDict[str, Array] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str, picture: Image.Image) -> Array:
        """The style vector of `picture`, identified by `key`; computed under a lock."""
        with self._lock:
            if key not in self._vectors:
                self._vectors[key] = style_vector(picture)
                self.computed += 1
            self._vectors.move_to_end(key)
            if len(self._vectors) > self._limit:
                self._vectors.popitem(last=False)
            return self._vectors[key]


def _resized_content(request: PictureRequest) -> Image.Image:
    """The content image at the requested size."""
    if request.content_picture is None:
        raise BadRecord(
            "missing_key",
            f"no content {_UNLESS} prompt",
            "content_file_name",
        )
    if not request.references:
        raise BadRecord(
            "missing_key",
            f"no style {_UNLESS} style from words",
            "style_file_name",
        )
    picture = request.content_picture
    scale = (request.long_side or max(picture.size)) / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Resampling.LANCZOS)


def _restyle(
    request: PictureRequest, content: Image.Image, styles: StyleVectorCache
) -> Image.Image:
    """`content` in the request's style and strength.

    Between 0 and 1 the style vector moves from the content image's own to the references'. Since
    the content rendered in its own style still differs from the content, its pixels are blended in:
    a share of (1 - strength) cubed, which is 1 at 0 and nearly 0 from 0.5 on.
    """
    if request.strength == 0:
        return content
    vector = _mean_vector(request, styles)
    if request.strength == 1:
        return stylize(content, vector)
    own = style_vector(content)
    painted = stylize(content, own + np.float32(request.strength) * (vector - own))
    return Image.blend(content, painted, 1 - (1 - request.strength) ** 3)


def _mean_vector(request: PictureRequest, styles: StyleVectorCache) -> Array:
    """The weighted mean of the references' style vectors; those without a key are not cached."""
    count = len(request.references)
    weights = request.weights or (1 / count,) * count
    if request.reference_keys:
        vectors = list(map(styles.get, request.reference_keys, request.references))
    else:
        vectors = list(map(style_vector, request.references))
    mean: Array = np.einsum("i,ij->j", np.asarray(weights, np.float32), np.stack(vectors))
    return mean
