"""The builtin style encoder: unit rows that batches do not change, by the weights on the card."""

import hashlib
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from megastyle_cli.models.builtin.discriminant_encoder import (
    LAYERS,
    DiscriminantEncoder,
    describe,
)
from megastyle_cli.models.builtin.imagenet import channel_statistics, descriptor_session
from megastyle_cli.models.builtin.style_descriptor import WhitenedDescriptor
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.builtin.test_style_descriptor import SHAPES, drawing, nearest_style


@pytest.fixture(scope="module")
def encoder():
    return DiscriminantEncoder()


def test_rows_are_unit_vectors_whatever_the_batch(encoder):
    pictures = [draw(seed, 40 + 30 * seed, 90) for seed in range(5)]

    vectors = encoder.embed(pictures)

    assert vectors.shape == (5, 256) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert np.array_equal(vectors[::-1], encoder.embed(pictures[::-1]))
    assert np.array_equal(vectors[2:3], encoder.embed(pictures[2:3]))


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (900, 2)])
def test_pictures_of_any_size_have_a_unit_vector(encoder, size):
    vectors = encoder.embed([Image.new("RGB", size, "teal"), draw(1, 700, 700).resize(size)])

    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_a_descriptor_is_histograms_beside_statistics_of_the_network():
    picture = draw(3, 120, 200)

    descriptor = describe(picture)

    histograms, network = descriptor[:1788], descriptor[1788:]
    assert np.array_equal(histograms, WhitenedDescriptor.histogram_rows([picture])[0])
    assert np.array_equal(network, channel_statistics(descriptor_session(LAYERS), picture))
    assert len(network) == 2 * (24 + 40 + 80)


def test_ink_and_line_width_are_recognised_in_other_shapes(encoder):
    styles = [("#103070", 3), ("#b03020", 3), ("#103070", 12), ("#b03020", 12)]
    pictures = [drawing(shape, ink, px) for ink, px in styles for shape in SHAPES]

    found = nearest_style(encoder.embed(pictures))

    assert found == [row // len(SHAPES) for row in range(len(pictures))]


def test_the_vectors_are_those_of_the_shipped_weights(encoder):
    # computed with the weights on the card; another processor may differ in the last digits
    first, second = encoder.embed([drawing("circle", "#103070", 5), draw(7, 96, 64)])

    assert first[:4] == pytest.approx([-0.4919, 0.2030, -0.3902, -0.2115], abs=2e-3)
    assert first @ second == pytest.approx(0.3577, abs=2e-3)


def test_the_card_names_the_very_weights_that_are_shipped(encoder):
    folder = files("megastyle_cli.models.builtin") / "weights"

    digest = hashlib.sha256((folder / "style_discriminants.safetensors").read_bytes()).hexdigest()

    assert digest in (folder / "CARD.md").read_text()
    assert encoder.name == f"style-discriminants@{digest[:8]}"
    assert load("style_encoder", "builtin").name == encoder.name


def test_it_brings_no_torch():
    code = (
        "import sys, megastyle_cli.models.builtin.discriminant_encoder;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
