"""Are records lost or doubled when tasks are preempted at random? A count on a real Slurm.

python -m tests.slurm.preemptions --count 200 --seed 0        (root; tests/slurm/install.sh)

A round is an array of caption and one of synth, of four tasks each, whose models take a second for
an image. Nodes with a task at work are taken by jobs of higher priority at random times, with and
without grace, until the round has had its share of preemptions. Then the arrays end, and their
parts are compared with what one process writes. Ends with 1 if a record is lost or doubled, or if
a task is stuck.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.conftest import jsonl
from tests.slurm.conftest import Desk, lines_of, make_desk
from tests.slurm.lab import Lab, Task

COUNTED = ("preemptions", "records", "lost", "doubled", "stuck")
IMAGES, PER_ROUND, PATIENCE_S = 48, 25, 300
SMALL = ("--array=0-3", "--mem=1000", "--cpus-per-task=1")
CAPTION = ("imgs", "--kind", "style", "--backend", "tests.slurm.slow:SlowCaptioner")
SYNTH = ("pairs.jsonl", "--size", "32", "--backend", "tests.slurm.slow:SlowPainter")
CALLS = {"caption": CAPTION, "synth": (*SYNTH, "--format", "folder")}
# what one process writes, and the parts
FILES = {
    "caption": ("plain/captions.jsonl", "caption-parts/part-0000?-of-00004.jsonl"),
    "synth": ("plain/synth/metadata.jsonl", "synth-parts/part-0000?-of-00004/metadata.jsonl"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw, totals, lab = random.Random(asked.seed), Counter[str](), Lab()
    try:
        while totals["preemptions"] < asked.count:
            with tempfile.TemporaryDirectory(prefix="megastyle-") as folder:
                desk = make_desk(lab, Path(folder), IMAGES)
                totals += round_of(desk, draw)
            print(json.dumps({name: totals[name] for name in COUNTED}), flush=True)  # noqa: T201
    finally:
        lab.end()
    if any(totals[fault] for fault in COUNTED[2:]):
        raise SystemExit(1)


def round_of(desk: Desk, draw: random.Random) -> "Counter[str]":
    """What is counted, for one round."""
    pairs = [
        {"id": f"r{n}", "content_file_name": "imgs/1.png", "style_file_name": f"imgs/{n}.png"}
        for n in range(IMAGES)
    ]
    jsonl(desk.folder / "pairs.jsonl", pairs)
    jobs = {}
    for name, (inputs, *options) in CALLS.items():
        options += ["--batch-size", "1"]
        plain = FILES[name][0].removesuffix("/metadata.jsonl")
        desk.run("megastyle", name, inputs, *options, "-q", "-o", plain)
        flags = (*SMALL, "-p", draw.choice(["low", "grace"]), f"examples/slurm/{name}.sbatch")
        jobs[name] = desk.submit(*flags, inputs, f"{name}-parts", *options, SLOW_S="1")

    tasks = tasks_of(desk, jobs)
    while sum(task.restarts for task in tasks) < PER_ROUND and not is_over(tasks):
        time.sleep(draw.uniform(0.5, 4))
        nodes = {task.node for task in tasks if task.state == "RUNNING"}
        if nodes:
            desk.preempt(draw.choice(sorted(nodes)), seconds=0)
        tasks = tasks_of(desk, jobs)
    deadline = time.monotonic() + PATIENCE_S
    while not is_over(tasks) and time.monotonic() < deadline:
        time.sleep(1)
        tasks = tasks_of(desk, jobs)

    stuck = [task for task in tasks if task.state != "COMPLETED"]
    if stuck:
        print(stuck, desk.state(), file=sys.stderr)  # noqa: T201
    counts = Counter(preemptions=sum(task.restarts for task in tasks), stuck=len(stuck))
    for files in FILES.values():
        expected, found = (Counter(lines_of(*desk.folder.glob(pattern))) for pattern in files)
        counts["records"] += found.total()
        counts["lost"] += (expected - found).total()
        counts["doubled"] += (found - expected).total()
    return counts


def tasks_of(desk: Desk, jobs: dict[str, int]) -> list[Task]:
    return [task for job in jobs.values() for task in desk.lab.tasks(job)]


def is_over(tasks: list[Task]) -> bool:
    return all(task.has_ended for task in tasks)


if __name__ == "__main__":
    main()
