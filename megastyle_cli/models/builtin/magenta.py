"""Magenta's arbitrary style transfer: a style image to a vector, a content image to a painting.

The two ONNX networks (weights/magenta/CARD.md) have activations quantized to int8, and the
transform network is declared for 384 x 384. Here they run with float activations (quantization
shifts colors and leaves speckle) and images of any size. Nothing in the graphs depends on the size,
and the statistics that carry the style are taken over the whole image, so there are no tiles and no
seams.
Source: Ghiasi et al. 2017 (arXiv 1705.06830); changing the graphs, painting by levels: ours.
"""

from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from PIL.Image import Resampling

from megastyle_cli.models.builtin.onnx_graph import open_session
from megastyle_cli.models.builtin.packaged_weights import packaged_file

Array = np.ndarray[Any, np.dtype[np.float32]]
Size = tuple[int, int]  # width, height in pixels

PACKAGE = "megastyle_cli.models.builtin"
BASE_PX = 256  # the size of style images in training, and of the coarsest level
STRIDE_PX = 4  # the transform network downsamples twice by two
MAX_PX = 2048  # of the finest level; the network needs 8 float planes of this size
DRAFT_SHARE = 0.5
_LOADING = Lock()  # with the cache alone every thread of the first batch would load a network


def style_vector(picture: Image.Image) -> Array:
    """The style of an RGB image of any size, (100,) float32.

    The network sees the whole image, in its own proportions and about 256 x 256 pixels in area, so
    that no part and no stroke direction is lost. By eye a center crop or a resized square gives
    nearly the same painting; the mean of close-up crops is weaker in contrast and line.
    """
    width, height = picture.size
    stretch = (width / height) ** 0.5
    size = tuple(
        int(np.clip(round(BASE_PX * side / 32) * 32, 64, 4 * BASE_PX))
        for side in (stretch, 1 / stretch)
    )
    pixels = np.asarray(picture.resize((size[0], size[1]), Resampling.BOX), np.float32)
    return _run("arbitrary_predict", pixels[None] / np.float32(255)).reshape(100)


def stylize(content: Image.Image, vector: Array) -> Image.Image:
    """`content` (RGB, any size) painted in the style of `vector` (100,); the same size.

    Painted from coarse to fine: a 256 px draft, enlarged and blended with the content, is painted
    over at twice the size, and so on. Broad strokes keep their size relative to the image and fine
    ones are added, so that 1024 px look like 384 px seen closer. Images below 256 px are painted at
    256 px and reduced; those above 2048 px are painted at 2048 px and enlarged.
    """
    draft = None
    for long_px in _levels(max(content.size)):
        canvas = content.resize(_scaled(content.size, long_px), Resampling.LANCZOS)
        if draft is not None:
            canvas = Image.blend(canvas, draft.resize(canvas.size, Resampling.BICUBIC), DRAFT_SHARE)
        draft = _paint(canvas, vector)
    assert draft is not None
    return draft.resize(content.size, Resampling.LANCZOS)


def _levels(long_px: int) -> list[int]:
    """Long sides to paint at, coarse to fine, each at least 1.5 times the one before."""
    finest = min(max(long_px, BASE_PX), MAX_PX)
    drafts = [BASE_PX << k for k in range(8) if 1.5 * (BASE_PX << k) <= finest]
    return [*drafts, finest]


def _scaled(size: Size, long_px: int) -> Size:
    scale = long_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _paint(canvas: Image.Image, vector: Array) -> Image.Image:
    """One pass of the transform network, with the image mirrored at its right and lower edge."""
    width, height = canvas.size
    padding = [(0, max(-side % STRIDE_PX, 8 * STRIDE_PX - side)) for side in (height, width)]
    pixels = np.pad(
        np.asarray(canvas, np.float32) / np.float32(255), [*padding, (0, 0)], mode="symmetric"
    )
    painted = _run("arbitrary_transform", pixels[None], vector.reshape(1, 1, 1, 100))[0]
    return Image.fromarray((painted[:height, :width] * 255 + 0.5).astype(np.uint8))  # sigmoid


def _run(network: str, *arrays: Array) -> Array:
    with _LOADING:
        session = _load_session(network)
    names = [each.name for each in session.get_inputs()]
    result: Array = session.run(None, dict(zip(names, arrays, strict=True)))[0]
    return result


@cache
def _load_session(network: str) -> onnxruntime.InferenceSession:
    """The network, loaded once; its `run` may be called by several threads."""
    path = packaged_file(PACKAGE, f"weights/magenta/{network}.onnx")
    return open_session(_unquantize(onnx.load(path)))


def _unquantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model`, changed in place to float activations and free sizes.

    Each pair of nodes that quantizes an activation to int8 and back is removed and its users get
    its input; int8 weights are unchanged. Axes 1 and 2 of inputs and outputs lose their sizes.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        is_quantization = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if is_quantization and node.input[0] not in weights:
            renamed[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        value.name = renamed.get(value.name, value.name)
        for size in value.type.tensor_type.shape.dim[1:3]:
            size.Clear()
    return model
