"""Plans of large runs: node hours, bytes, metadata operations and requeues, by arithmetic.

Run: python benchmarks/plan.py [--pictures N --picture-kb KB --rate R --tasks N ...]
Without options it prints the tables of docs/scale.md. What is MEASURED is so in RESULTS.md and on
two cores; the speed of a model on a GPU is none of these figures: give yours by --rate.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

HOUR = 3600

# MEASURED: RESULTS.md, "Metadata operations", "Shares of an input", "Listing a folder"
OPS_CAPTION = 7.2  # metadata operations per record: all calls on files but reads and writes
OPS_SYNTH_PNG = 15.9
OPS_SYNTH_TAR = 18.4
OPS_TRAIN = 4.5  # per picture of a batch
OPS_START = 307  # per start, on inputs and outputs
OPS_PROGRAM = 3_690  # per start, on the files of Python and the packages
OPS_PROGRAM_TORCH = 68_800  # with torch and transformers
LISTING_S = 15.0  # CPU, per million files
OPS_LISTED = 0.006  # per file of the folder and start
LINES_S = 1.9  # to read a million JSON lines
CAPTION_KB = 0.77  # a record
SYNTH_KB = 1.4
PAIR_KB = 0.76  # a pair; every task reads all of them
PACKED_KB = 107  # a picture of a shard that --pack wrote, 384 px
SECONDS_BETWEEN_HEARTBEATS = 10

# PUBLISHED by others
MADE_KB = 300  # a 512 px PNG: MegaStyle++ has 8 M of them in 2.4 TB
TRAINING_PICTURES = 1_400_000
EPOCHS, BATCH = 30, 8_192
ENCODER_PARAMETERS = 428_225_600  # SigLIP so400m, the image tower
CHECKPOINT_EVERY = 500  # steps; the default
PER_TAR = 1_000  # records in a WebDataset file; the default
CHECKPOINT_BYTES = 12 * ENCODER_PARAMETERS  # weights and two moments of Adam in float32


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to plan for; each field is an option of the script."""

    pictures: int = 2_000_000  # to caption
    picture_kb: float = 500
    rate: float = 5.0  # pictures per second and task
    made: int = 1_400_000  # pictures to render
    made_rate: float = 0.5
    train_rate: float = 800.0  # pictures per second, all GPUs of the training together
    train_nodes: int = 1
    tasks: int = 64
    limit_h: float = 8  # --time of a task
    preempted_h: float = 24  # mean time between preemptions of a node
    model_s: float = 120  # loading the model
    requeue_s: float = 120  # until Slurm starts a requeued task, if a node is free


@dataclass(frozen=True, kw_only=True)
class Job:
    """One array or training: its sums."""

    node_hours: float
    tasks: int
    bytes_read: float
    bytes_written: float
    files: int
    ops_records: float
    ops_starts: float
    ops_heartbeats: float
    requeues: float
    start_s: float

    @property
    def hours(self) -> float:
        """Of the longest task, if all run at once."""
        return self.node_hours / self.tasks

    @property
    def ops(self) -> float:
        """All metadata operations."""
        return self.ops_records + self.ops_starts + self.ops_heartbeats


def caption(plan: Plan) -> Job:
    """An array of `caption` over files in folders."""
    listing_s = LISTING_S * plan.pictures / 1e6
    job = _array(plan, plan.pictures, plan.rate, OPS_CAPTION, OPS_PROGRAM, listing_s)
    listed = OPS_LISTED * plan.pictures * _starts(plan, job)
    lines = CAPTION_KB * 1e3 * plan.pictures
    return replace(
        job,
        bytes_read=plan.picture_kb * 1e3 * plan.pictures,
        bytes_written=lines,
        files=3 * plan.tasks,
        ops_starts=job.ops_starts + listed,
    )


def synth(plan: Plan, *, is_tar: bool) -> Job:
    """An array of `synth` with a text-to-image model."""
    ops = OPS_SYNTH_TAR if is_tar else OPS_SYNTH_PNG
    job = _array(plan, plan.made, plan.made_rate, ops, OPS_PROGRAM_TORCH, 0.0)
    made_bytes = (MADE_KB + SYNTH_KB) * 1e3 * plan.made
    tars = plan.tasks * math.ceil(plan.made / plan.tasks / PER_TAR)
    return replace(
        job,
        bytes_read=PAIR_KB * 1e3 * plan.made * _starts(plan, job),
        bytes_written=made_bytes,
        files=(tars if is_tar else plan.made) + 3 * plan.tasks,
    )


def train(plan: Plan, *, is_packed: bool) -> Job:
    """A training of the style encoder at the paper's batch and length."""
    drawn = TRAINING_PICTURES // BATCH * BATCH * EPOCHS
    hours = drawn / plan.train_rate / HOUR
    steps = drawn // BATCH
    requeues = hours / plan.limit_h + hours * plan.train_nodes / plan.preempted_h
    checkpoints = steps // CHECKPOINT_EVERY + requeues
    processes = 8 * plan.train_nodes
    return Job(
        node_hours=hours * plan.train_nodes,
        tasks=plan.train_nodes,
        bytes_read=drawn * 1e3 * (PACKED_KB if is_packed else MADE_KB),
        bytes_written=checkpoints * CHECKPOINT_BYTES,
        files=10,
        ops_records=OPS_TRAIN * drawn,
        ops_starts=(1 + requeues) * processes * (OPS_START + OPS_PROGRAM_TORCH),
        ops_heartbeats=hours * HOUR / SECONDS_BETWEEN_HEARTBEATS,
        requeues=requeues,
        start_s=plan.model_s,
    )


def _array(
    plan: Plan, count: int, rate: float, ops: float, program: float, listing_s: float
) -> Job:
    start_s = listing_s + plan.model_s
    work_h = count / rate / HOUR
    hours = work_h / plan.tasks
    requeues = work_h / plan.preempted_h + plan.tasks * int(hours / plan.limit_h)
    starts = plan.tasks + requeues
    node_hours = work_h + starts * start_s / HOUR
    return Job(
        node_hours=node_hours,
        tasks=plan.tasks,
        bytes_read=0,
        bytes_written=0,
        files=0,
        ops_records=ops * count,
        ops_starts=starts * (OPS_START + program),
        ops_heartbeats=node_hours * HOUR / SECONDS_BETWEEN_HEARTBEATS,
        requeues=requeues,
        start_s=start_s,
    )


def _starts(plan: Plan, job: Job) -> float:
    return plan.tasks + job.requeues


# Tables


def short(value: float) -> str:
    """A number with two or three digits and a unit of thousands: 1,024, 14 K, 2.0 M."""
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e4, " K")):
        if value >= factor:
            scaled = value / (1e3 if unit == " K" else factor)
            return f"{scaled:.3g}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def size(value: float) -> str:
    """A number of bytes."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, with two digits or more."""
    for factor, unit in ((2 * 86400, "d"), (2 * HOUR, "h"), (120, "min")):
        if seconds >= factor:
            scaled = seconds / {"d": 86400, "h": HOUR, "min": 60}[unit]
            return f"{scaled:,.1f} {unit}" if scaled < 10 else f"{scaled:,.0f} {unit}"
    return f"{seconds:.0f} s"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


RATES = (0.1, 0.5, 1, 5, 20, 100)
TRAIN_RATES = (100, 200, 800, 1_600, 6_400)
TASKS = (64, 256, 1_024)


def summary(plan: Plan) -> str:
    """What each of the three runs asks for."""
    jobs = [caption(plan), synth(plan, is_tar=True), train(plan, is_packed=True)]
    rates = (plan.rate, plan.made_rate, plan.train_rate)
    where = ("a task", "a task", "all GPUs")
    rows = [
        ("speed assumed", *(f"{r:g}/s {w}" for r, w in zip(rates, where, strict=True))),
        ("tasks", *(f"{job.tasks:,}" for job in jobs)),
        ("time, if all run at once", *(duration(job.hours * HOUR) for job in jobs)),
        ("node hours", *(short(job.node_hours) for job in jobs)),
        ("read", *(size(job.bytes_read) for job in jobs)),
        ("written", *(size(job.bytes_written) for job in jobs)),
        ("files made", *(short(job.files) for job in jobs)),
        ("metadata operations", *(short(job.ops) for job in jobs)),
        ("of these a second", *(short(job.ops / job.hours / HOUR) for job in jobs)),
        ("requeues", *(short(job.requeues) for job in jobs)),
        ("a requeue takes", *(duration(plan.requeue_s + job.start_s) for job in jobs)),
    ]
    captions = f"`caption`, {short(plan.pictures)} pictures"
    made = f"`synth` to tars, {short(plan.made)} pictures"
    trained = f"`train-encoder`, {short(TRAINING_PICTURES)} x {EPOCHS}"
    return table(("", captions, made, trained), rows)


def by_rate(plan: Plan) -> str:
    """Node hours and duration of both arrays by the speed of the model."""
    rows = []
    for rate in RATES:
        row = [f"{rate:g}"]
        for kind in ("caption", "synth"):
            jobs = []
            for tasks in TASKS:
                at = replace(plan, rate=rate, made_rate=rate, tasks=tasks)
                jobs.append(caption(at) if kind == "caption" else synth(at, is_tar=True))
            row.append(f"{jobs[0].node_hours:,.0f}")
            row.append(", ".join(duration(job.hours * HOUR) for job in jobs))
        rows.append(row)
    tasks = ", ".join(f"{number:,}" for number in TASKS)
    head = [
        *("pictures/s a task", "caption: node hours", f"with {tasks} tasks"),
        *("synth: node hours", f"with {tasks} tasks"),
    ]
    return table(head, rows)


def metadata(plan: Plan) -> str:
    """Where the metadata operations come from."""
    jobs = {
        "caption, files in folders": caption(plan),
        "synth, a file a picture": synth(plan, is_tar=False),
        "synth, `--format webdataset`": synth(plan, is_tar=True),
        "train-encoder, a file a picture": train(plan, is_packed=False),
        "train-encoder, `--pack`": train(plan, is_packed=True),
    }
    rows = [
        (
            *(name, short(job.ops_records), short(job.ops_starts), short(job.ops_heartbeats)),
            *(short(job.ops / job.hours / HOUR), short(job.files)),
        )
        for name, job in jobs.items()
    ]
    return table(("", "records", "starts", "heartbeats", "all, a second", "files made"), rows)


def training(plan: Plan) -> str:
    """The encoder at the paper's batch by the speed of all GPUs together."""
    rows = []
    for rate in TRAIN_RATES:
        job = train(replace(plan, train_rate=rate), is_packed=True)
        seconds = job.hours * HOUR
        loose = train(replace(plan, train_rate=rate), is_packed=False)
        reads = [size(each.bytes_read / seconds) for each in (job, loose)]
        step_s = BATCH / rate
        lost = duration(CHECKPOINT_EVERY * step_s)
        row = (f"{rate:,}", duration(seconds), duration(step_s), *reads, short(job.requeues), lost)
        rows.append(row)
    head = ("pictures/s", "time", "a step", "packed, a second", "512 px PNG, a second")
    return table((*head, "requeues", "lost if killed without a signal, at most"), rows)


def tables(plan: Plan) -> dict[str, str]:
    """The tables of docs/scale.md by the names of their markers."""
    return {
        "plan": summary(plan),
        "plan-rates": by_rate(plan),
        "plan-metadata": metadata(plan),
        "plan-training": training(plan),
    }


def main() -> None:
    """Prints the tables for the figures given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for field in fields(Plan):
        flag = f"--{field.name.replace('_', '-')}"
        kind = int if isinstance(field.default, int) and not field.name.endswith("_h") else float
        parser.add_argument(flag, type=kind, default=field.default, help="[%(default)s]")
    plan = Plan(**vars(parser.parse_args()))
    sys.stdout.write("\n".join(tables(plan).values()))


if __name__ == "__main__":
    main()
