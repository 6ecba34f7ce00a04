"""The builtin painter: content pictures restyled after reference pictures by Magenta's networks."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from threading import Lock

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.builtin.magenta import Array, style_vector, stylise
from megastyle_cli.models.builtin.threads import over_cores
from megastyle_cli.models.protocols import PictureRequest


class MagentaPainter:
    """Paints requests that have a content picture and at least one reference."""

    name = "magenta"

    def __init__(self) -> None:
        self.styles = StyleVectors()

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image.Image]:
        """One picture a request, in order; see `render`."""
        return render(requests, self.styles)


class StyleVectors:
    """Style vectors by reference key: each is computed once, the least recently used is dropped."""

    def __init__(self, limit: int = 4096) -> None:
        self.computed = 0
        self._limit = limit
        self._kept: OrderedDict[str, Array] = OrderedDict()
        self._lock = Lock()

    def of(self, key: str, picture: Image.Image) -> Array:
        """The style vector of `picture`, which `key` names; held under a lock while computed."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = style_vector(picture)
                self.computed += 1
            self._kept.move_to_end(key)
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
            return self._kept[key]


def render(requests: Sequence[PictureRequest], styles: StyleVectors) -> list[Image.Image]:
    """One RGB picture a request, in order; pictures are painted side by side on all cores.

    Each has its content picture's proportions, and `long_side` if the request gives one. Raises
    BadRecord (missing_key) before painting anything if a request lacks a picture it needs.
    """
    contents = [_content(request) for request in requests]
    restyle = partial(_restyle, styles=styles)
    return over_cores(lambda asked: restyle(*asked), list(zip(requests, contents, strict=True)))


def _content(request: PictureRequest) -> Image.Image:
    """The content picture at the size asked for."""
    if request.content_picture is None:
        raise BadRecord(
            "missing_key",
            "a prompt without a content picture needs a text-to-image model such as Qwen-Image or "
            "FLUX; the builtin backend restyles pictures: give a content picture",
        )
    if not request.references:
        raise BadRecord(
            "missing_key",
            "a style in words needs a text-to-image model such as Qwen-Image or FLUX; the builtin "
            "backend takes the style from a picture: give a style picture",
        )
    picture = request.content_picture
    scale = (request.long_side or max(picture.size)) / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Resampling.LANCZOS)


def _restyle(request: PictureRequest, content: Image.Image, styles: StyleVectors) -> Image.Image:
    """`content` in the request's style and strength.

    Between 0 and 1 the style vector moves from the content picture's own to the references'. The
    content painted in its own style is not yet the content, so its pixels are mixed in as well: a
    share of (1 - strength) cubed, which is all at 0 and next to nothing from one half on.
    """
    if request.strength == 0:
        return content
    vector = _mixed_vector(request, styles)
    if request.strength == 1:
        return stylise(content, vector)
    own = style_vector(content)
    painted = stylise(content, own + np.float32(request.strength) * (vector - own))
    return Image.blend(content, painted, 1 - (1 - request.strength) ** 3)


def _mixed_vector(request: PictureRequest, styles: StyleVectors) -> Array:
    """The references' style vectors, mixed by weight; references without a key are not kept."""
    count = len(request.references)
    weights = request.weights or (1 / count,) * count
    if request.reference_keys:
        vectors = list(map(styles.of, request.reference_keys, request.references))
    else:
        vectors = list(map(style_vector, request.references))
    mixed: Array = np.einsum("i,ij->j", np.asarray(weights, np.float32), np.stack(vectors))
    return mixed
