"""A painter and stylist, and a store of images, that a test can inspect."""

from collections.abc import Sequence

from PIL.Image import Image

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.protocols import PictureRequest
from tests.conftest import draw


class FakePainter:
    """Draws an image by the seed of the request; the content "unknown" cannot be painted."""

    name = "fake"

    def __init__(self) -> None:
        self.requests: list[PictureRequest] = []

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image | BadRecord]:
        self.requests += requests
        return [
            BadRecord("missing_key", "unknown word")
            if request.content == "unknown"
            else draw(request.seed % 1000)
            for request in requests
        ]

    restyle = paint


class MemoryStore:
    """Keeps the images by record id."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}

    def save_image(self, record_id: str, image: Image, source: object = None) -> str:
        self.images[record_id] = image
        return f"{record_id}.png"
