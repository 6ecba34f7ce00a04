"""Drawn images whose style is known."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from megastyle_cli.core.style import StyleAttributes
from megastyle_cli.models.builtin.captioner import PixelCaptioner


def describe(picture: Image.Image) -> StyleAttributes:
    """The style attributes that the builtin captioner finds."""
    style = PixelCaptioner().describe([picture], "style")[0].style
    assert style is not None
    return style


def from_values(values: np.ndarray) -> Image.Image:
    """An RGB image of (h, w) or (h, w, 3) values, clipped to bytes."""
    clipped = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(clipped).convert("RGB")


def noisy(width: int = 200, height: int = 160, seed: int = 0) -> np.ndarray:
    """Smooth blotches of color with grain, (height, width, 3)."""
    rng = np.random.default_rng(seed)
    blotches = Image.fromarray(rng.integers(40, 216, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(blotches.resize((width, height), Image.Resampling.BICUBIC))
    return smooth + rng.normal(0, 6, (height, width, 3))


def cartoon() -> Image.Image:
    picture = Image.new("RGB", (240, 240), (250, 235, 190))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((20, 20, 120, 120), fill=(220, 60, 40), outline=(0, 0, 0), width=5)
    draw.rectangle((130, 60, 220, 200), fill=(60, 120, 200), outline=(0, 0, 0), width=5)
    draw.polygon([(30, 220), (110, 220), (70, 140)], fill=(90, 180, 90), outline=(0, 0, 0), width=5)
    return picture


def strokes(horizontal: bool) -> Image.Image:
    """Ochre paint: short strokes along one axis over a mottled ground, without plain areas."""
    rng = np.random.default_rng(1)
    ground = noisy(256, 256) * 0.3 + np.array([120, 90, 40])
    picture = from_values(ground)
    draw = ImageDraw.Draw(picture)
    for _ in range(1500):
        x, y = rng.integers(-20, 256, 2)
        color = tuple(int(v) for v in rng.integers((90, 60, 10), (230, 190, 90)))
        draw.line((int(x), int(y), int(x) + 40, int(y)), fill=color, width=4)
    picture = picture.filter(ImageFilter.GaussianBlur(0.7))
    return picture if horizontal else picture.transpose(Image.Transpose.ROTATE_90)


def checkerboard() -> Image.Image:
    rows, columns = np.indices((192, 192)) // 24
    return from_values(((rows + columns) % 2) * 255)


def stripes() -> Image.Image:
    return from_values(np.tile((np.arange(192) // 12 % 2) * 200 + 20, (192, 1)))


def lit_from_the_left() -> Image.Image:
    return from_values(noisy() * 0.2 + np.linspace(190, 20, 200)[None, :, None])
