"""An image reader for tests: images are drawn by their names."""

from collections.abc import Sequence

from PIL.Image import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.images import ImageReader
from tests.conftest import draw


class DrawnImages(ImageReader):
    """Draws the image whose seed is the name; a name that is no number cannot be read.

    `names` are all names that were read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def read(self, names: Sequence[str]) -> list[Image | BadRecord]:
        self.names += names
        return [
            draw(int(name)) if name.isdigit() else BadRecord("bad_image", f"{name} is damaged")
            for name in names
        ]
