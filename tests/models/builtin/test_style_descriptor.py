"""The style descriptors from histograms: unit rows, what they depend on and what they ignore."""

import hashlib
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from megastyle_cli.models.builtin.style_descriptor import (
    EdgeDescriptor,
    StyleDescriptor,
    WhitenedDescriptor,
)
from megastyle_cli.models.builtin.working_image import srgb_to_lab
from megastyle_cli.models.registry import load
from tests.conftest import draw

ENCODERS = [WhitenedDescriptor(), StyleDescriptor(), EdgeDescriptor()]
SHAPES = ("circle", "box", "cross", "stairs")


def drawing(shape, ink, stroke_px, side_px=128):
    """One of four outlines in one ink and one line width of a 128 px picture, smooth, on white."""
    image = Image.new("RGB", (512, 512), "white")
    pen = ImageDraw.Draw(image)
    line = {"fill": ink, "width": 4 * stroke_px}
    match shape:
        case "circle":
            pen.ellipse((80, 80, 432, 432), outline=ink, width=4 * stroke_px)
        case "box":
            pen.rectangle((64, 120, 448, 392), outline=ink, width=4 * stroke_px)
        case "cross":
            pen.line((80, 80, 432, 432), **line)
            pen.line((80, 432, 432, 80), **line)
        case "stairs":
            pen.line([(40, 440), (180, 440), (180, 300), (320, 300), (320, 160)], **line)
    return image.resize((side_px, side_px), Image.Resampling.BOX)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.name)
def test_rows_are_unit_vectors_in_the_order_of_pictures(encoder):
    pictures = [draw(seed, 40 + 30 * seed, 90) for seed in range(5)]

    vectors = encoder.embed(pictures)

    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    assert np.array_equal(vectors[::-1], encoder.embed(pictures[::-1]))


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.name)
def test_a_row_does_not_depend_on_its_batch(encoder):
    pictures = [draw(seed, 200, 150) for seed in range(8)]

    together = encoder.embed(pictures)
    alone = np.concatenate([encoder.embed([picture]) for picture in pictures])

    assert np.array_equal(together, alone)


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda e: e.name)
@pytest.mark.parametrize("size", [(1, 1), (3, 700), (900, 2), (17, 31)])
def test_pictures_of_any_size_have_a_unit_vector(encoder, size):
    flat, noisy = Image.new("RGB", size, "teal"), draw(1, 700, 700).resize(size)

    vectors = encoder.embed([flat, noisy])

    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-6)


def nearest_style(vectors):
    """For each drawing, the style whose drawings of the other shapes are nearest on average.

    Rows are styles x SHAPES.
    """
    count = len(vectors) // len(SHAPES)
    cosines = (vectors @ vectors.T).reshape(len(vectors), count, len(SHAPES))
    for row, cosine in enumerate(cosines):
        cosine[:, row % len(SHAPES)] = 0
    return cosines.sum(axis=2).argmax(axis=1).tolist()


@pytest.mark.parametrize("encoder", ENCODERS[:2], ids=lambda e: e.name)
def test_ink_and_line_width_are_recognised_in_other_shapes(encoder):
    styles = [("#103070", 3), ("#b03020", 3), ("#103070", 12), ("#b03020", 12)]
    pictures = [drawing(shape, ink, px) for ink, px in styles for shape in SHAPES]

    found = nearest_style(encoder.embed(pictures))

    assert found == [row // len(SHAPES) for row in range(len(pictures))]


def test_whitening_keeps_styles_further_apart_than_contents():
    pictures = [drawing(shape, "black", px) for px in (3, 12) for shape in SHAPES]
    is_alike = np.kron(np.eye(2), np.ones((len(SHAPES), len(SHAPES)))).astype(bool)

    def gap(encoder):
        cosines = (vectors := encoder.embed(pictures)) @ vectors.T
        return cosines[is_alike].mean() - cosines[~is_alike].mean()

    assert gap(WhitenedDescriptor()) > gap(StyleDescriptor())


def test_the_encoder_of_earlier_versions_keeps_its_weights_and_name():
    folder = files("megastyle_cli.models.builtin") / "weights"

    digest = hashlib.sha256((folder / "style_whitening.safetensors").read_bytes()).hexdigest()

    assert digest in (folder / "CARD.md").read_text()
    assert WhitenedDescriptor().name == f"whitened-statistics@{digest[:8]}"
    # indexes of earlier versions go by this name
    assert digest.startswith("40c7ebbc")


def test_line_width_is_recognised_in_other_shapes_without_colour():
    pictures = [drawing(shape, "black", px) for px in (2, 5, 14) for shape in SHAPES]

    found = nearest_style(EdgeDescriptor().embed(pictures))

    assert found == [row // len(SHAPES) for row in range(len(pictures))]


def test_edges_do_not_see_colour_and_the_style_descriptor_does():
    teal, rust = (ink_of(45, a, b) for a, b in ((-25, -10), (40, 40)))
    pictures = [drawing("circle", ink, 6) for ink in (teal, rust)]

    edges, style = (encoder.embed(pictures) for encoder in (EdgeDescriptor(), StyleDescriptor()))

    assert edges[0] @ edges[1] > 0.98
    assert style[0] @ style[1] < 0.9


def ink_of(lightness, a, b):
    """The sRGB bytes nearest to a CIELAB colour."""
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    distance = np.linalg.norm(srgb_to_lab(grid) - [lightness, a, b], axis=-1)
    return tuple(int(v) for v in grid[np.unravel_index(distance.argmin(), distance.shape)])


@pytest.mark.parametrize("side_px", [200, 384, 512])
def test_a_bigger_copy_is_the_same_style(side_px):
    bigger = drawing("circle", "#103070", 5, side_px)
    pictures = [drawing("circle", "#103070", 5), bigger, drawing("circle", "#103070", 12)]

    same, large, thick = StyleDescriptor().embed(pictures)

    assert same @ large > 0.9
    assert same @ large > same @ thick


def test_all_are_found_by_name_and_bring_no_torch():
    assert load("style_encoder", "whitened").name.startswith("whitened-statistics@")
    assert load("style_encoder", "statistics").name == "style-statistics"
    assert load("style_encoder", "edges").name == "edge-texture"

    code = (
        "import sys, megastyle_cli.models.builtin.style_descriptor;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnxruntime', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_picture_given_is_left_as_it_was():
    picture = draw(4, 300, 200)
    before = picture.tobytes()

    StyleDescriptor().embed([picture, ImageOps.mirror(picture)])

    assert picture.tobytes() == before
