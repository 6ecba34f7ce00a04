"""CPU time a picture of what the builtin captioner and style encoder do, on one thread.

JPEGs of 1024 px are decoded to 384 px, as the commands do; its two parts are Pillow's own. To
compare versions, run it in turn with each of them: python -m benchmarks.measures.
"""

import gc
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.caption import make_pictures
from megastyle_cli.io.images import DRAFT_MARGIN, open_picture
from megastyle_cli.models.builtin.captioner import measure_style
from megastyle_cli.models.builtin.discriminant_encoder import DiscriminantEncoder
from megastyle_cli.models.builtin.style_descriptor import WhitenedDescriptor

COUNT, ROUNDS, SIDE_PX = 30, 9, 384


def half(path: Path) -> Image.Image:
    """The file decoded at the smallest DCT scale above SIDE_PX by DRAFT_MARGIN."""
    image = Image.open(path)
    scale = SIDE_PX * DRAFT_MARGIN / max(image.size)
    image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
    image.load()
    return image


def reduced(image: Image.Image) -> Image.Image:
    """A copy with a long side of SIDE_PX."""
    copy = image.copy()
    copy.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    return copy


def least_ms(works: dict[str, Callable[[int], Any]]) -> dict[str, float]:
    """Milliseconds of each work over COUNT items, the least of ROUNDS in turn."""
    took = dict.fromkeys(works, 1e9)
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.thread_time()
            for number in range(COUNT):
                work(number)
            took[name] = min(took[name], 1000 * (time.thread_time() - started) / COUNT)
    return took


def main() -> None:
    """Prints milliseconds a picture."""
    gc.disable()
    whitened, builtin = WhitenedDescriptor(), DiscriminantEncoder()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(Path(folder))[:COUNT]
        halves = [half(path) for path in paths]
        images = [open_picture(str(path), SIDE_PX) for path in paths]
        took = least_ms(
            {
                "decoding to 384 px": lambda n: open_picture(str(paths[n]), SIDE_PX),
                "  JPEG at half scale": lambda n: half(paths[n]),
                "  bicubic to 384 px": lambda n: reduced(halves[n]),
                "style attributes": lambda n: measure_style(images[n]),
                "style histograms": lambda n: whitened.histogram_rows([images[n]]),
                "style vector, whitened": lambda n: whitened.embed([images[n]]),
                "style vector, builtin": lambda n: builtin.embed([images[n]]),
            }
        )
    out = sys.stdout.write
    versions = " ".join(f"{name} {version(name)}" for name in ("pillow", "numpy"))
    out(f"Python {platform.python_version()} {versions}; CPU ms a picture\n")
    for name, ms in took.items():
        out(f"{name:22s} {ms:6.2f}\n")


if __name__ == "__main__":
    main()
