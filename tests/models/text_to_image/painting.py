"""What the tests of painters share: requests, and images as arrays."""

from dataclasses import replace

import numpy as np

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import PictureRequest
from megastyle_cli.models.registry import load
from tests.tiny_flux import save_tiny_flux
from tests.tiny_pipelines import (
    save_tiny_flux2,
    save_tiny_klein,
    save_tiny_qwen,
    save_tiny_sd3,
    save_tiny_sdxl,
)
from tests.tiny_qwen21 import save_tiny_qwen21

PIPELINES = {
    "qwen": save_tiny_qwen,
    "qwen21": save_tiny_qwen21,
    "flux": save_tiny_flux,
    "flux2": save_tiny_flux2,
    "klein": save_tiny_klein,
    "sd3": save_tiny_sd3,
    "sdxl": save_tiny_sdxl,
}
REQUEST = PictureRequest(content="a fox.", style="In the style of woodcut.", long_side=48, seed=7)
REQUESTS = [
    replace(REQUEST, content="a very big cat on a chair", seed=8),
    REQUEST,
    replace(REQUEST, content="a cat", seed=9),
    replace(REQUEST, content="a dog", seed=10, long_side=64),
]


def load_painter(folder, **options):
    return load(
        "painter", "diffusers", model=str(folder), **{"steps": 3, "device": "cpu", **options}
    )


def pixels(image):
    assert not isinstance(image, BadRecord), image
    return np.asarray(image).astype(int)


def paint(painter, *requests):
    return [pixels(image) for image in painter.paint(requests)]


def record_calls(module):
    """A list that grows with every call of a module."""
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls
