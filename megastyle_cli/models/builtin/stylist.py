"""The builtin stylist: `transfer` on a plain CPU, with the painter's networks."""

from collections.abc import Sequence

from PIL import Image

from megastyle_cli.models.builtin.painter import StyleVectors, render
from megastyle_cli.models.protocols import PictureRequest


class MagentaStylist:
    """Restyles content pictures after reference pictures; a prompt alone is refused."""

    name = "magenta"

    def __init__(self) -> None:
        self.styles = StyleVectors()

    def restyle(self, requests: Sequence[PictureRequest]) -> list[Image.Image]:
        """One picture a request, in order; see `painter.render`."""
        return render(requests, self.styles)
