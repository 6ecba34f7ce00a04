"""Embedded ICC profiles: pictures of other colour spaces are converted to sRGB.

Relative colorimetric with black point compensation, as photo editors and browsers convert.
"""

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

MAX_LEVELS = 2  # a profile that moves no colour by more than this, of 255, is sRGB
_COLOR_MODES = {"1": "L", "L": "L", "LA": "L", "La": "L", "CMYK": "CMYK"}  # others: RGB
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def is_srgb(image: Image.Image) -> bool:
    """Whether the colours of `image` are taken as they are.

    So are those without a profile, and those whose profile is damaged or is for other channels than
    the picture has, such as CMYK in an RGB picture.
    """
    return _transform(image.info.get("icc_profile"), _color_mode(image)) is None


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """`image`, of 8 bits per channel, converted from `profile`: RGB, or RGBA if it has alpha.

    What needs no conversion (see `is_srgb`) is returned as it is.
    """
    mode = _color_mode(image)
    transform = _transform(profile, mode)
    if transform is None:
        return image
    alpha = None
    if has_alpha(image):
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    converted = ImageCms.applyTransform(image.convert(mode), transform)
    assert converted is not None
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def has_alpha(image: Image.Image) -> bool:
    """Whether pixels may be transparent: by a channel, a palette or a colour that means nothing."""
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _color_mode(image: Image.Image) -> str:
    """The channels that a profile of `image` is for."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return "L"
    return _COLOR_MODES.get(image.mode, "RGB")


@lru_cache(16)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the colour space of `profile` to sRGB; None if there is nothing to convert."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.ImageCmsTransform(
            source, _SRGB, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=_FLAGS
        )
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None
    colors = _sample_colors(mode)
    moved = transform.apply(colors).tobytes()
    as_is = colors.convert("RGB").tobytes()
    is_same = all(abs(a - b) <= MAX_LEVELS for a, b in zip(moved, as_is, strict=True))
    return None if is_same else transform


def _sample_colors(mode: str) -> Image.Image:
    """Colours that cover those of `mode` evenly."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    steps = range(0, 256, 17)
    colors = bytes(v for r in steps for g in steps for b in steps for v in (r, g, b))
    return Image.frombytes("RGB", (len(colors) // 3, 1), colors).convert(mode)
