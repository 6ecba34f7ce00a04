"""How much of its input each shard reads: 20,000 pictures in folders, and tar and parquet files.

Run: python benchmarks/shard_reading.py [FOLDER [INPUT...]]
FOLDER keeps the pictures from run to run (default: a folder for temporary files). Reads are those
of the whole command, with the opening of the pictures, counted by strace on the input's files; a
captioner that only looks at a picture's size takes the place of a model. A resumed shard is stopped
by a signal halfway and continued.
"""

import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.system_calls import MEGASTYLE, PICTURES, trace
from megastyle_cli.models.protocols import Description

COUNT, IN_FILES = 20_000, 2_000
INPUTS = ("pictures", "128.tars", "one.tar", "one.parquet")
FOLDER_SIZE = 1_000
SHARDS = ("0/1", "0/4", "0/64")
CAPTION = (
    *("caption", "--kind", "content", "-q"),
    *("--backend", "benchmarks.shard_reading:SizeCaptioner"),
)
OWNS_NOTHING = 99_999  # so many shards that most own none of the pictures


class SizeCaptioner:
    """A captioner that says how large a picture is."""

    name = "size"

    def __init__(self, **_: object) -> None: ...

    def describe(self, pictures: Sequence[Image.Image], kind: str) -> list[Description]:
        """Descriptions of as many pictures."""
        return [Description(content=f"{each.width} x {each.height} px") for each in pictures]


def write_gallery(folder: Path, count: int) -> None:
    """Pictures of many sizes, all different: crops of the examples, 128 to 640 px."""
    rng = random.Random(0)
    sources = []
    for path in sorted(PICTURES.rglob("*.jpg")):
        with Image.open(path) as source:
            sources.append(source.convert("RGB"))
    for number in range(count):
        source = rng.choice(sources)
        side = round(min(max(rng.lognormvariate(5.4, 0.4), 128), 640))
        x, y = (rng.uniform(0, 0.3) * length for length in source.size)
        box = (x, y, x + 0.7 * source.width, y + 0.7 * source.height)
        picture = source.resize((side, round(side * source.height / source.width)), box=box)
        path = folder / f"{number // FOLDER_SIZE:03}" / f"{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=rng.choice((75, 85, 92)))


def write_containers(pictures: Sequence[Path], folder: Path) -> None:
    """The same pictures in one tar, in 128 tars, and in one parquet file."""
    from megastyle_cli.io.writers import parquet

    (folder / "128.tars").mkdir()
    for number in range(128):
        _write_tar(folder / "128.tars" / f"{number:05}.tar", pictures[number::128])
    _write_tar(folder / "one.tar", pictures)
    with (folder / "one.parquet").open("wb") as file:
        rows = (({"id": path.stem, "style": "ink"}, path.read_bytes()) for path in pictures)
        parquet.write(file, rows)


def _write_tar(path: Path, pictures: Sequence[Path]) -> None:
    with tarfile.open(path, "w") as tar:
        for picture in pictures:
            tar.add(picture, picture.name)


def report(source: Path, size: int, shard: str, output: Path, *more: str, what: str = "") -> None:
    """Runs one shard and prints a row."""
    words = [*MEGASTYLE, *CAPTION, str(source), "--shard", shard, "-o", str(output), *more]
    before = num_lines(output)
    (calls, *_), _ = trace(words, [source])
    records, share = num_lines(output) - before, calls.bytes_read / size
    name = f"{source.name} | {shard}{what} | {records:,}"
    opens = f"{calls.kinds['open']:,} | {calls.kinds['stat']:,}"
    row = f"| {name} | {calls.bytes_read / 1e6:,.1f} | {100 * share:.1f} % | {opens} |"
    sys.stdout.write(row + "\n")
    sys.stdout.flush()


def num_lines(output: Path) -> int:
    """The records in an output, finished or not."""
    partial = output.with_name(f"{output.name}.partial")  # 0/1 was a file once
    single = [path for path in (output, partial) if path.is_file()]
    files = single or output.glob("part-*.jsonl*")
    kept = [path for path in files if ".errors." not in path.name]
    return sum(path.read_bytes().count(b"\n") for path in kept)


def stop_halfway(source: Path, shard: str, output: Path, half: int) -> None:
    """Runs a shard until it has written about `half` of its records."""
    words = [*MEGASTYLE, *CAPTION, str(source), "--shard", shard, "-o", str(output)]
    process = subprocess.Popen(words)
    while process.poll() is None and num_lines(output) < half:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75, process.returncode


def empty_shard(source: Path, scratch: Path) -> str:
    """A shard of the source that owns no record."""
    for index in range(20):
        output = scratch / f"empty{index}"
        shard = f"{index}/{OWNS_NOTHING}"
        words = [*MEGASTYLE, *CAPTION, str(source), "--shard", shard, "-o", str(output)]
        subprocess.run(words, check=True)
        if not num_lines(output):
            return shard
    raise AssertionError("every shard owns a record")


def measure(source: Path, count: int, scratch: Path) -> None:
    """Prints the rows of one input: whole, a quarter, a 64th, a resumed one, an empty one."""
    files = [path for path in source.rglob("*") if path.is_file()] or [source]
    size = sum(path.stat().st_size for path in files)
    for shard in SHARDS:
        report(source, size, shard, scratch / shard.replace("/", "-of-"))
    output = scratch / "resumed"
    stop_halfway(source, "0/4", output, count // 8)
    report(source, size, "0/4", output, "--resume", what=", second half")
    shard = empty_shard(source, scratch)
    report(source, size, shard, scratch / "empty", what=", owns none")


def main() -> None:
    """Prints a row for each input and shard."""
    keep = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # for the captioner
    versions = " ".join(f"{name} {version(name)}" for name in ("pillow", "onnxruntime", "pyarrow"))
    sys.stdout.write(f"Python {platform.python_version()} {versions}, {os.cpu_count()} cores\n")
    sys.stdout.write("| input | shard | records | MB read | of the input | opens | stats |\n")
    with tempfile.TemporaryDirectory() as scratch:
        base = (keep or Path(scratch, "inputs")).absolute()
        if not (base / "done").exists():
            shutil.rmtree(base, ignore_errors=True)
            write_gallery(base / "pictures", COUNT)
            pictures = sorted((base / "pictures").rglob("*.jpg"))
            write_containers(pictures[:IN_FILES], base)
            (base / "done").touch()
        for name in sys.argv[2:] or INPUTS:
            work = Path(scratch, f"of-{name}")
            work.mkdir()
            measure(base / name, COUNT if name == "pictures" else IN_FILES, work)


if __name__ == "__main__":
    main()
