"""Speed and memory of reading inputs, compared with a plain loop over the same file.

Each measurement runs in a process of its own, so that peak memory is measured separately. The
parquet file has the layout of the releases and GIGABYTES of data, and is deleted at the end; its
images are random bytes of the size of 512 px PNGs, since they are read but not decoded. Exits with
1 if one of our readers takes more than MAX_MB.
"""

import gzip
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
from backports import zstd

sys.path.insert(0, str(Path(__file__).parents[1]))

from megastyle_cli.io.formats import picture_bytes
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.writers import parquet

GIGABYTES = 2.0
PICTURE_BYTES = 400_000
LINES, MEMBERS = 200_000, 5_000
MAX_MB = 600  # limit for our readers


def records(count: int) -> Iterator[dict[str, object]]:
    """Records like those of `pair`."""
    for n in range(count):
        style = f"In the style of number {n // 8}, teal with ochre accents, soft light, in ink."
        record = {"id": f"s{n // 8 + 1}_c{n}", "content": f"Frog {n} on a leaf", "style": style}
        yield {**record, "style_id": str(n // 8 + 1), "content_id": str(n), "license": "cc0"}


def make_files(folder: Path) -> None:
    """Creates the files that are read below."""
    lines = b"".join(map(dump_line, records(LINES)))
    (folder / "x.jsonl").write_bytes(lines)
    (folder / "x.jsonl.gz").write_bytes(gzip.compress(lines, 6))
    (folder / "x.jsonl.zst").write_bytes(zstd.compress(lines))
    with (folder / "x.csv").open("w") as table:
        table.write("id,content,style\n")
        for record in records(LINES):
            table.write(f'{record["id"]},{record["content"]},"{record["style"]}"\n')
    with tarfile.open(folder / "x.tar", "w") as tar:
        for n, record in enumerate(records(MEMBERS)):
            for name, content in ((f"{n:06}.jpg", os.urandom(20_000)), (f"{n:06}.json", record)):
                raw = content if isinstance(content, bytes) else dump_line(content)
                member = tarfile.TarInfo(name)
                member.size = len(raw)
                tar.addfile(member, BytesIO(raw))
    for name in ("pictures", "imagefolder"):
        (folder / name).mkdir()
        for n in range(MEMBERS):
            (folder / name / f"{n:06}.jpg").write_bytes(os.urandom(20_000))
    with (folder / "imagefolder" / "metadata.jsonl").open("wb") as listing:
        for n, record in enumerate(records(MEMBERS)):
            listing.write(dump_line({**record, "file_name": f"{n:06}.jpg"}))
    count = int(GIGABYTES * 1e9 / PICTURE_BYTES)
    rows = ((record, os.urandom(PICTURE_BYTES)) for record in records(count))
    with (folder / "x.parquet").open("wb") as file:
        parquet.write(file, rows)


def ours(path: Path) -> int:
    """Reads records without their images."""
    return sum(1 for _ in read_records([str(path)]))


def ours_with_pictures(path: Path) -> int:
    """Reads records and the bytes of each image."""
    found = read_records([str(path)])
    return sum(1 for record in found if picture_bytes(record["file_name"]))  # type: ignore[index]


def plain_folder(path: Path) -> int:
    """Reads every file."""
    return sum(1 for name in sorted(path.iterdir()) if name.read_bytes())


def plain_json(path: Path) -> int:
    """A loop of json.loads."""
    openers: dict[str, Callable[..., object]] = {".gz": gzip.open, ".zst": zstd.open}
    with openers.get(path.suffix, open)(path, "rt") as lines:  # type: ignore[attr-defined]
        return sum(1 for line in lines if json.loads(line))


def plain_csv(path: Path) -> int:
    """A csv.DictReader."""
    import csv

    with path.open(newline="") as lines:
        return sum(1 for _ in csv.DictReader(lines))


def plain_parquet(path: Path) -> int:
    """pyarrow, all columns."""
    with pq.ParquetFile(path) as file:
        return sum(len(batch.to_pylist()) for batch in file.iter_batches(32))


def plain_parquet_texts(path: Path) -> int:
    """pyarrow, only the text columns."""
    with pq.ParquetFile(path) as file:
        columns = ["id", "content", "style"]
        return sum(len(batch.to_pylist()) for batch in file.iter_batches(1024, columns=columns))


def plain_tar(path: Path) -> int:
    """tarfile, reading every member."""
    with tarfile.open(path) as tar:
        return sum(1 for member in tar if tar.extractfile(member).read()) // 2  # type: ignore[union-attr]


MEASURED: list[tuple[str, str, Callable[[Path], int]]] = [
    ("x.jsonl", "json.loads", plain_json),
    ("x.jsonl", "ours", ours),
    ("x.jsonl.gz", "json.loads", plain_json),
    ("x.jsonl.gz", "ours", ours),
    ("x.jsonl.zst", "json.loads", plain_json),
    ("x.jsonl.zst", "ours", ours),
    ("x.csv", "csv.DictReader", plain_csv),
    ("x.csv", "ours, ids from the text", ours),
    ("pictures", "every file", plain_folder),
    ("pictures", "ours with pictures", ours_with_pictures),
    ("imagefolder", "ours with pictures", ours_with_pictures),
    ("x.tar", "tarfile, all members", plain_tar),
    ("x.tar", "ours with pictures", ours_with_pictures),
    ("x.parquet", "pyarrow, texts", plain_parquet_texts),
    ("x.parquet", "ours without pictures", ours),
    ("x.parquet", "pyarrow, all columns", plain_parquet),
    ("x.parquet", "ours with pictures", ours_with_pictures),
]


def main() -> None:
    """Prints records per second and peak memory, one line for each way of reading."""
    out = sys.stdout.write
    packages = ", ".join(f"{name} {version(name)}" for name in ("pyarrow", "backports.zstd"))
    out(f"Python {platform.python_version()}, {packages}, {os.cpu_count()} cores\n")
    over = []
    with tempfile.TemporaryDirectory() as scratch:
        make_files(Path(scratch))
        for number, (name, how, _) in enumerate(MEASURED):
            path = Path(scratch, name)
            files = path.rglob("*") if path.is_dir() else [path]
            size = sum(file.stat().st_size for file in files) / 1e6
            command = [sys.executable, __file__, str(number), str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            count, seconds, peak_mb = map(float, output.split())
            rate = f"{count / seconds:9,.0f}/s {peak_mb:6.0f} MB"
            out(f"{name:12s} {size:6.0f} MB  {how:24s} {rate}\n")
            sys.stdout.flush()
            if how.startswith("ours") and peak_mb > MAX_MB:
                over.append(f"{name} {how}: {peak_mb:.0f} MB")
    if over:
        sys.exit(f"more than {MAX_MB} MB: {', '.join(over)}")


def peak_kb() -> int:
    """Peak memory of this process; ru_maxrss would start with that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(number: int, path: Path) -> None:
    """Prints one line: records, seconds, peak memory in MB."""
    started = time.perf_counter()
    count = MEASURED[number][2](path)
    seconds = time.perf_counter() - started
    peak_mb = peak_kb() / 1000
    sys.stdout.write(f"{count} {seconds} {peak_mb}\n")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
