"""CPU time of other decoders than Pillow, and whether their pixels are equal to Pillow's.

Run in an environment of its own, after pip install pillow numpy pyvips pyvips-binary imagecodecs
opencv-python-headless simplejpeg: python benchmarks/decoders.py PICTURES, a folder of JPEGs, which
are scaled to 1024 px. The CPU time of all threads; the least of ROUNDS over all pictures, in turn.
"""

import importlib
import io
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Decode = Callable[[bytes], Pixels]
COUNT, ROUNDS, SIDE_PX = 12, 5, 1024
FORMATS = {"PNG": {}, "WEBP": {"quality": 90}, "JPEG": {"quality": 90}}
PACKAGES = ("pillow", "pyvips-binary", "opencv-python-headless", "imagecodecs", "simplejpeg")


def decoders(kind: str) -> dict[str, Decode]:
    """A decoder of RGB pixels (h, w, 3) by each package for one format."""

    def pillow(content: bytes) -> Pixels:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))

    def pyvips(content: bytes) -> Pixels:
        return vips.Image.new_from_buffer(content, "").numpy()

    def opencv(content: bytes) -> Pixels:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)

    def codecs(content: bytes) -> Pixels:
        return getattr(imagecodecs, f"{kind.lower()}_decode")(content)

    def simple(content: bytes) -> Pixels:
        return simplejpeg.decode_jpeg(content, "RGB")

    vips, cv2, imagecodecs, simplejpeg = map(
        importlib.import_module, ("pyvips", "cv2", "imagecodecs", "simplejpeg")
    )
    found: dict[str, Decode] = {"pillow": pillow, "pyvips": pyvips, "opencv": opencv}
    found["imagecodecs"] = codecs
    return found | ({"simplejpeg": simple} if kind == "JPEG" else {})


def pictures(folder: Path) -> list[Image.Image]:
    """COUNT pictures whose long side is SIDE_PX."""
    made = []
    for path in sorted(folder.glob("*.jpg"))[:COUNT]:
        with Image.open(path) as image:
            scale = SIDE_PX / max(image.size)
            size = round(image.width * scale), round(image.height * scale)
            made.append(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    return made


def encoded(image: Image.Image, kind: str) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **FORMATS[kind])
    return file.getvalue()


def main() -> None:
    """Prints milliseconds of CPU a picture of each decoder, and the largest difference."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()} ")
    out(" ".join(f"{name} {version(name)}" for name in PACKAGES) + "\n")
    images = pictures(Path(sys.argv[1]))
    for kind in FORMATS:
        contents = [encoded(image, kind) for image in images]
        least: dict[str, float] = {}
        found = decoders(kind)
        for _ in range(ROUNDS):
            for name, decode in found.items():
                started = time.process_time()
                for content in contents:
                    decode(content)
                least[name] = min(least.get(name, 1e9), time.process_time() - started)
        for name, decode in found.items():
            gaps = [
                np.abs(decode(content).astype(int) - found["pillow"](content)).max()
                for content in contents
            ]
            out(f"{kind:5s} {name:12s} {1000 * least[name] / len(images):6.1f} ms, ")
            out(f"largest difference to Pillow {max(gaps)}\n")


if __name__ == "__main__":
    main()
