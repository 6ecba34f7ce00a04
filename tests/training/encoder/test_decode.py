"""Fast decoding gives nearly the pixels of exact decoding, and fails with a reason."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import open_picture
from megastyle_cli.models.encoders.siglip_vision import resize_to_square
from megastyle_cli.training.encoder.decode import decode
from tests.conftest import draw


def difference(path, side_px):
    """The mean difference, in grey levels, to the full image resampled bicubically."""
    exact = resize_to_square(open_picture(str(path)), side_px)
    return float((decode(str(path), side_px).float() - exact.float()).abs().mean())


@pytest.mark.parametrize("size", [(512, 512), (700, 500), (64, 64), (40, 90), (333, 128), (17, 5)])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_any_size_is_close_to_exact_decoding(tmp_path, size, suffix):
    draw(3, *size).save(tmp_path / f"a{suffix}")

    # a wrong scale or channel order is off by tens of levels
    assert difference(tmp_path / f"a{suffix}", 64) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(1, 160, 96).save(tmp_path / "a.jpg", exif=exif, quality=95)

    assert difference(tmp_path / "a.jpg", 32) < 4


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_gray_and_cmyk_become_rgb(tmp_path, mode):
    draw(2, 96, 96).convert(mode).save(tmp_path / "a.jpg", quality=95)

    assert difference(tmp_path / "a.jpg", 48) < 4


def test_a_jpeg_of_the_requested_size_is_not_resampled(tmp_path):
    draw(5, 48, 48).save(tmp_path / "a.jpg", quality=95, subsampling=0)

    with Image.open(tmp_path / "a.jpg") as image:
        stored = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    assert (decode(str(tmp_path / "a.jpg"), 48).int() - stored.int()).abs().max() <= 2


def test_a_truncated_jpeg_raises_with_its_size(tmp_path: Path):
    buffer = BytesIO()
    draw(4, 300, 200).save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue()[:2000])

    with pytest.raises(BadRecord, match="is cut off after 2000 bytes"):
        decode(str(tmp_path / "a.jpg"), 64)
