"""HEIC and JPEG XL are read where their packages are installed; elsewhere the package is named."""

from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.formats import is_picture_name
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.picture_plugins import PACKAGES, is_installed, register_plugins
from tests.conftest import draw


@pytest.mark.parametrize(("suffix", "name"), [(".heic", "HEIF"), (".jxl", "JXL")])
def test_a_picture_is_read_or_its_package_is_named(tmp_path: Path, suffix: str, name: str) -> None:
    path = tmp_path / f"a{suffix}"

    if is_installed(PACKAGES[suffix]):
        assert name in register_plugins() and is_picture_name(path.name)
        draw(1).save(path, name)
        assert open_picture(str(path)).size == draw(1).size
        with Image.open(path) as image:
            assert image.format == name
    else:
        assert not is_picture_name(path.name)
        path.write_bytes(b"x")
        with pytest.raises(BadRecord, match=f"pip install {PACKAGES[suffix]}"):
            open_picture(str(path))
