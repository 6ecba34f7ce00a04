"""Attacks every command and counts what goes wrong; exit code 1 if anything did.

  python -m benchmarks.torture                     everything, some half an hour on two cores
  python -m benchmarks.torture --quick             a sample, some two minutes
  python -m benchmarks.torture kills --only synth-tar.17 --seed 5      one trial again

Parts: starts (signals to interpreters that have just started), kills, crash-points, full-disks,
malformed, hostile-server. A trial is a function of its name and --seed, apart from the moment of a
signal, which also depends on the machine's speed. What a failed trial has left stays in --lab.
Small disks are mounted, if run by root; the other limits need nothing.
"""

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.torture import crash_points, full_disks, hostile_server, kills, malformed
from benchmarks.torture.lab import Lab
from benchmarks.torture.trial import KINDS, Outcome, Trial
from tests import fork_server

ALL = 100_000
# Part: trials of a full campaign, and of a quick one.
COUNTS = {
    "starts": (40, 2),
    "kills": (660, 30),
    "crash-points": (800, 30),
    "full-disks": (120, 10),
    "malformed": (400, 20),
    "hostile-server": (ALL, 12),
}
PACKAGES = ("torch", "numpy", "pillow", "onnxruntime", "orjson", "pyarrow")


@dataclass
class Tally:
    """What happened in a part."""

    trials: int = 0
    tried: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.trials += 1
        self.tried += outcome.tried
        self.faults.update(fault.kind for fault in outcome.faults)


def trials_of(part: str, lab: Lab, count: int, seed: int) -> Iterator[Trial]:
    """The trials of a part, a function of the seed."""
    rng = random.Random(f"{seed} {part}")
    if part == "starts":
        return kills.start_trials(count)
    if part == "kills":
        return kills.trials(count)
    if part == "crash-points":
        return crash_points.trials(lab, count, rng)
    if part == "full-disks":
        return full_disks.trials(count, rng)
    if part == "malformed":
        return malformed.trials(count)
    return hostile_server.trials(count, rng)


def run_trial(trial: Trial, lab: Lab, seed: int) -> Outcome:
    """Runs one trial in a folder of its own, which stays only if something went wrong."""
    outcome, place = Outcome(), lab.workplace(trial.part, trial.name)
    rng = random.Random(f"{seed} {trial.part} {trial.name}")
    try:
        if trial.form and trial.form.before:
            place.run(trial.form.words_before(lab.inputs))
        trial.run(lab, place, outcome, rng)
    except Exception:  # one trial that cannot be made is no reason to stop a campaign
        outcome.add("not run", traceback.format_exc())
    if not outcome.faults:
        shutil.rmtree(place.root)
    return outcome


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="torture-") as temporary:
        code = campaign(options, Lab(options.lab or Path(temporary)))
    fork_server.stop_server()
    sys.exit(code)


def campaign(options: argparse.Namespace, lab: Lab) -> int:
    """Runs the parts and prints the table; returns the exit code."""
    start, failures = time.monotonic(), []
    tallies: dict[str, Tally] = {}
    for part in options.parts or COUNTS:
        tally = tallies[part] = Tally()
        count = ALL if options.only else options.trials or COUNTS[part][options.quick]
        found = list(trials_of(part, lab, count, options.seed))
        if options.only:
            found = [trial for trial in found if trial.name in options.only]
        for trial, outcome in _run_all(found, lab, options):
            tally.add(outcome)
            if outcome.faults:
                failures.append(_failure(trial, outcome, options.seed))
                _say(f"\n{failures[-1]['again']}\n  " + "\n  ".join(failures[-1]["seen"]))
        _say(f"{part}: {tally.trials} trials, {tally.faults.total()} faults")
    _say(table(tallies))
    if options.json:
        about = {"command": " ".join(sys.argv[1:]), "seed": options.seed, "machine": _machine()}
        seconds = round(time.monotonic() - start)
        parts = {
            part: {**vars(tally), "faults": dict(tally.faults)} for part, tally in tallies.items()
        }
        summary = {**about, "seconds": seconds, "parts": parts, "failures": failures}
        options.json.write_text(json.dumps(summary, indent=1) + "\n")
    return int(bool(failures))


def table(tallies: dict[str, Tally]) -> str:
    """The figures as a Markdown table."""
    head = ("part", "trials", "tried", *KINDS)
    rows = [
        (part, tally.trials, tally.tried, *(tally.faults[kind] for kind in KINDS))
        for part, tally in tallies.items()
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _run_all(
    trials: list[Trial], lab: Lab, options: argparse.Namespace
) -> Iterator[tuple[Trial, Outcome]]:
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(run_trial, trial, lab, options.seed): trial for trial in trials}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _failure(trial: Trial, outcome: Outcome, seed: int) -> dict[str, Any]:
    again = f"python -m benchmarks.torture {trial.part} --seed {seed} --only {trial.name}"
    faults = [f"{fault.kind}: {fault.words}" for fault in outcome.faults]
    return {"again": again, "seen": [*faults, *outcome.steps]}


def _machine() -> str:
    packages = " ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--quick", action="store_true", help="a sample of the trials")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, help="trials of each part")
    parser.add_argument("--only", action="append", help="only the trial of this name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trials at a time")
    parser.add_argument("--lab", type=Path, help="an empty folder to work in, which stays")
    parser.add_argument("--json", type=Path, help="write the figures and failures here")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(COUNTS):
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(COUNTS)}")
    return options


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
