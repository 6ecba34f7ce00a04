"""Sizes of images in pixels: width, then height."""

Size = tuple[int, int]
PIXELS_PER_BATCH = 1024 * 1024


def round_up(size: Size, multiple: int) -> Size:
    """`size` with both sides rounded up to a multiple of `multiple`."""
    width, height = (-(-side // multiple) * multiple for side in size)
    return width, height


def scale_long_side(size: Size, long_side_px: int) -> Size:
    """`size` scaled so that its longer side has `long_side_px`; no side falls below 1."""
    width, height = (max(1, round(side * long_side_px / max(size))) for side in size)
    return width, height


def images_per_batch(size: Size) -> int:
    """How many images of this size a large GPU generates at a time: a megapixel of them.

    Their 4,096 tokens keep it busy.
    """
    return max(1, PIXELS_PER_BATCH // (size[0] * size[1]))
