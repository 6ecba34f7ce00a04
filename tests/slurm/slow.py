"""The builtin models at the pace of large ones: they wait `SLOW_S` seconds for each picture."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from PIL.Image import Image

from megastyle_cli.core.choices import CaptionKind
from megastyle_cli.models.builtin.captioner import PixelCaptioner
from megastyle_cli.models.builtin.magenta_painter import MagentaPainter
from megastyle_cli.models.protocols import Description, PictureRequest


class SlowCaptioner(PixelCaptioner):
    name = "slow"

    def describe(self, pictures: Sequence[Image], kind: CaptionKind) -> list[Description]:
        _wait(len(pictures))
        return super().describe(pictures, kind)


class SlowPainter(MagentaPainter):
    name = "slow"

    def paint(self, requests: Sequence[PictureRequest]) -> list[Image]:
        _wait(len(requests))
        return super().paint(requests)


def _wait(count: int) -> None:
    """Waits, and lets the test see that a picture is at hand."""
    if seconds := float(os.environ.get("SLOW_S", "0")):
        Path("working").touch()
        time.sleep(seconds * count)
