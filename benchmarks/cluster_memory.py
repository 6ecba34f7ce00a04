"""Memory of `cluster` compared with the size of its vectors, which it maps and never copies.

Runs the command in a process of its own on a .npy file and as many records. Peak is VmHWM: all
resident pages, including the mapped vectors, the interpreter and libraries. Anonymous is the
maximum of RssAnon, sampled every 20 ms: the memory needed besides the page cache. The vectors are
those of benchmarks/cluster.py. Linux only.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from megastyle_cli.io.npy import VectorWriter

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.cluster import random_vectors  # noqa: E402

EVERY_S = 0.02


def memory_of(process: int) -> dict[str, int]:
    """The sizes in /proc/PROCESS/status, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return {name: 1024 * int(kb) for name, kb in re.findall(r"(\w+):\s+(\d+) kB", status)}


def main() -> None:
    """Prints seconds, and both peaks relative to the size of the vectors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--levels", default="auto")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("options", nargs="*", help="Options of cluster, after --.")
    options = parser.parse_args()
    out = sys.stdout.write
    out(
        f"Python {platform.python_version()}, numpy {version('numpy')}, load"
        f" {os.getloadavg()[0]:.1f}\n"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with VectorWriter(folder / "v.npy") as writer:
            writer.write(options.count, random_vectors(options.count, options.width, options.seed))
            writer.commit()
        with (folder / "in.jsonl").open("w") as file:
            file.writelines(f'{{"id":"r{row}","row":{row}}}\n' for row in range(options.count))
        command = [
            *(sys.executable, "-m", "megastyle_cli", "cluster", str(folder / "in.jsonl")),
            *("--vectors-from", str(folder / "v.npy"), "--levels", options.levels),
            *("-o", str(folder / "out.jsonl"), *options.options),
        ]
        started = time.perf_counter()
        running = subprocess.Popen(command)
        peak = anonymous = 0
        while running.poll() is None:
            now = memory_of(running.pid)
            peak = max(peak, now.get("VmHWM", 0))
            anonymous = max(anonymous, now.get("RssAnon", 0))
            time.sleep(EVERY_S)
        took_s = time.perf_counter() - started
        assert running.returncode == 0
        size = 4 * options.count * options.width
        out(f"{options.count:,} x {options.width}, vectors {size / 1e6:.0f} MB, {took_s:.1f} s\n")
        out(f"peak {peak / 1e6:.0f} MB, {peak / size:.2f} x the vectors\n")
        out(f"anonymous {anonymous / 1e6:.0f} MB, {anonymous / size:.2f} x\n")


if __name__ == "__main__":
    main()
