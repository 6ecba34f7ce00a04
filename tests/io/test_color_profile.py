"""Pictures look as their ICC profile says; those that need no conversion keep their bytes."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from megastyle_cli.io.color_profile import is_srgb
from megastyle_cli.io.images import decode_picture, open_picture, save_picture
from megastyle_cli.training.encoder.decode import decode
from tests.conftest import draw
from tests.io.profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, gray_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def tagged(image: Image.Image, profile: bytes, format: str = "PNG", **how: object) -> bytes:
    """The file of `image`, of sRGB, in the colour space of `profile`."""
    to = ImageCms.ImageCmsProfile(BytesIO(profile))
    moved = ImageCms.profileToProfile(image, SRGB, to, renderingIntent=1)
    assert moved is not None
    return saved(moved, format, icc_profile=profile, **how)


def saved(image: Image.Image, format: str = "PNG", **how: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format, **how)
    return buffer.getvalue()


def gap(one: Image.Image, other: Image.Image) -> float:
    """The mean difference in levels of two pictures."""
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


@pytest.mark.parametrize("profile", [DISPLAY_P3, ADOBE_RGB, PROPHOTO])
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_a_picture_looks_the_same_in_every_colour_space(profile: bytes, format: str) -> None:
    image = draw(1)
    lossless = {"lossless": True} if format == "WEBP" else {}

    found = decode_picture("a", tagged(image, profile, format, **lossless))

    assert gap(found, image) < 1
    assert "icc_profile" not in found.info


def test_a_jpeg_is_converted_at_the_scale_that_it_is_decoded_at() -> None:
    image = draw(2, 1600, 1200)
    content = tagged(image, PROPHOTO, "JPEG", quality=95, subsampling=0)

    small = decode_picture("a", content, 100)

    assert small.size == (100, 75)
    image.thumbnail((100, 100))
    assert gap(small, image) < 4


def test_alpha_stays_and_palettes_are_converted() -> None:
    image = draw(3)
    with_alpha = image.copy()
    with_alpha.putalpha(Image.linear_gradient("L").resize(image.size))
    expected = decode_picture("a", saved(with_alpha))
    palette = Image.new("P", (8, 8))
    palette.putpalette([200, 40, 40])

    wide = Image.open(BytesIO(tagged(image, ADOBE_RGB)))
    wide.putalpha(with_alpha.getchannel("A"))
    found = decode_picture("a", saved(wide, icc_profile=ADOBE_RGB))
    red = decode_picture("a", saved(palette, icc_profile=ADOBE_RGB)).getpixel((0, 0))

    assert gap(found, expected) < 1
    assert isinstance(red, tuple) and red[0] > 225


def test_gray_of_8_and_16_bits_is_converted() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    deep = Image.fromarray(ramp.astype(np.uint16) * 257)
    profile = gray_profile(1.8)

    found = np.asarray(decode_picture("a", saved(Image.fromarray(ramp), icc_profile=profile)))
    found_deep = np.asarray(decode_picture("a", saved(deep, icc_profile=profile)))

    expected = 255 * (np.arange(256) / 255) ** (1.8 / 2.2)
    assert np.abs(found[0, 50:, 1] - expected[50:]).max() < 4
    assert (found == found_deep).all() and (found[..., 0] == found[..., 2]).all()


@pytest.mark.parametrize(
    ("mode", "profile"),
    [
        ("RGB", SRGB.tobytes()),
        ("RGB", b"no profile at all"),
        ("RGB", DISPLAY_P3[:200]),
        ("RGB", gray_profile(1.0)),
        ("RGB", LAB),
        ("L", DISPLAY_P3),
        ("CMYK", DISPLAY_P3),
        ("LAB", LAB),
    ],
    ids=["srgb", "text", "cut", "gray in rgb", "lab in rgb", "rgb in gray", "rgb in cmyk", "lab"],
)
def test_srgb_damaged_and_unfitting_profiles_change_nothing(mode: str, profile: bytes) -> None:
    image = draw(4).convert("RGB") if mode == "LAB" else draw(4).convert(mode)
    if mode == "LAB":
        transform = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
        applied = ImageCms.applyTransform(image, transform)
        assert applied is not None
        image = applied
        image.info.clear()

    with_profile = decode_picture("a", saved(image, "TIFF", icc_profile=profile))
    without = decode_picture("a", saved(image, "TIFF"))

    assert with_profile.tobytes() == without.tobytes()


def test_a_written_picture_carries_no_profile_that_it_is_not_in(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(tagged(draw(5), PROPHOTO))

    save_picture(open_picture(str(tmp_path / "a.png")), tmp_path / "b.png")

    with Image.open(tmp_path / "b.png") as written:
        assert "icc_profile" not in written.info and is_srgb(written)
        assert gap(written, draw(5)) < 1


def test_training_sees_the_same_colours(tmp_path: Path) -> None:
    image = draw(6, 256, 256)
    content = tagged(image, PROPHOTO, "JPEG", quality=95, subsampling=0)
    (tmp_path / "wide.jpg").write_bytes(content)
    image.save(tmp_path / "a.jpg", quality=95, subsampling=0)

    wide, plain = (decode(str(tmp_path / name), 64).float() for name in ("wide.jpg", "a.jpg"))

    assert (wide - plain).abs().mean() < 3
