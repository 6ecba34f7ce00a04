"""What the listing of a folder costs a shard: seconds and memory for up to a million pictures.

Run: python benchmarks/listing.py [FOLDER] [COUNT...]
The folder's files are hard links to a few pictures. The shard owns none of them (or one), so that
`caption` lists the folder, decides about every file, and ends. FOLDER (default: a folder for
temporary files) says on which disk; the links are deleted at the end. The files are in the page
cache; a first listing from the disk or from a file server is slower.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.system_calls import MEGASTYLE, write_pictures

COUNTS = (100, 20_000, 200_000, 1_000_000)
LINKS = 50_000  # to one file; ext4 allows 65,000
SHARD = "7/99999"


def link_pictures(folder: Path, pictures: Sequence[Path], first: int, end: int) -> None:
    """Links number `first` to `end`, in sub-folders of 10,000."""
    for number in range(first, end):
        target = folder / f"{number // 10_000:03}" / f"{number:07}.jpg"
        if number % 10_000 == 0:
            target.parent.mkdir(parents=True, exist_ok=True)
        os.link(pictures[number // LINKS], target)


def run(words: Sequence[str | Path]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak memory in MB of a command, by GNU time."""
    command = ["/usr/bin/time", "-f", "%e %U %S %M", *map(str, words)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    seconds, user, system, kilobytes = map(float, printed.split())
    return seconds, user + system, kilobytes / 1000


def main() -> None:
    """Prints seconds, CPU seconds and peak memory for each number of files."""
    where = sys.argv[1] if len(sys.argv) > 1 else None
    counts = [int(each) for each in sys.argv[2:]] or COUNTS
    sys.stdout.write(f"Python {platform.python_version()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory(dir=where) as scratch:
        base = Path(scratch)
        write_pictures(base / "pictures", 1 + max(counts) // LINKS)
        pictures = sorted((base / "pictures").rglob("*.jpg"))
        before = 0
        for count in sorted(counts):
            link_pictures(base / "all", pictures, before, count)
            before = count
            words = ("caption", "--kind", "style", "-q", base / "all", "--shard", SHARD)
            seconds, cpu, peak = run([*MEGASTYLE, *words, "-o", base / "out"])
            shutil.rmtree(base / "out")
            row = f"| {count:,} | {seconds:.1f} | {cpu:.1f} | {peak:.0f} |"
            sys.stdout.write(row + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
