"""A simulation of array jobs that are preempted: what a preemption costs, when starting dominates.

Run: python benchmarks/preemption.py [--seeds N] [--plot FILE.svg]
Discrete events: tasks wait for a node, start (program, listing, model), work in batches, are
preempted or reach their time limit, stop, wait, and are started again. No figure here is measured;
every assumption is a field of `Cluster` or `Work`.

High-priority jobs arrive at random and take `width` nodes for a while. A task that is asked to stop
finishes its batch if that takes no longer than the `lead`; else it is killed and its batch is lost.
Tasks that start together share the file server, which serves `listings_at_once` at full speed.
"""

import argparse
import heapq
import random
import statistics
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.plan import LINES_S, LISTING_S, table

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be done, and what a start costs."""

    num_records: int = 2_000_000
    rate: float = 5.0  # records per second and task
    batch_s: float = 10.0  # a batch takes at most this, or one record
    batch_records: int | None = None  # a fixed batch instead
    program_s: float = 5.0  # to the first line of the listing
    listing_s: float = 2 * LISTING_S  # of 2 million files, alone
    model_s: float = 120.0

    @property
    def seconds_per_batch(self) -> float:
        """How long a batch takes."""
        if self.batch_records is not None:
            return self.batch_records / self.rate
        return max(1, int(self.batch_s * self.rate)) / self.rate


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The queue and its habits."""

    num_tasks: int = 64
    num_nodes: int = 64  # that the array may have at once; others take them at times
    hours_between_preemptions: float = 4.0  # of one node
    width: int = 8  # nodes that a high-priority job takes at once
    hold_s: float = 1800.0  # and for how long, on average
    lead_s: float = 120.0  # from the signal to the kill
    limit_s: float = 8 * HOUR  # --time; the signal comes `lead_s` before
    requeue_s: float = 120.0  # until Slurm considers a requeued task again
    listings_at_once: int = 16
    max_restarts: int = 20  # per task, then it has to be submitted again


@dataclass
class Outcome:
    """What one simulation counted; times in seconds of nodes unless stated."""

    makespan_s: float = 0.0
    work_s: float = 0.0  # on records that were kept
    lost_s: float = 0.0  # on batches that were killed
    listing_s: float = 0.0
    loading_s: float = 0.0  # program and model
    num_preemptions: int = 0
    num_time_limits: int = 0
    num_killed: int = 0  # stops that did not end in time
    num_timed_out: int = 0  # of these, at the time limit: Slurm does not requeue them by itself
    num_starts: int = 0
    is_finished: bool = True  # False: a task needed more than `max_restarts`
    most_restarts: int = 0
    lost: list[float] = field(default_factory=list)  # work lost at each stop
    idle: list[float] = field(default_factory=list)  # from each stop to the next first batch

    @property
    def node_hours(self) -> float:
        """Time on nodes."""
        return (self.work_s + self.lost_s + self.listing_s + self.loading_s) / HOUR

    @property
    def useful(self) -> float:
        """Share of the node hours that went into records."""
        return self.work_s / HOUR / self.node_hours


@dataclass
class _Task:
    left_s: float  # of work
    restarts: int = 0
    run: int = 0  # events of earlier runs are void
    node: int = -1
    started: float = 0.0  # the allocation
    listing: float | None = None  # when this run began to list, and to load the model
    listed: float | None = None
    stopped: float | None = None  # when the run before ended


Kind = Literal["arrive", "leave", "queue", "list", "listed", "end", "limit"]


class Simulation:
    """One array on one cluster, with the random numbers of one seed."""

    def __init__(self, work: Work, cluster: Cluster, seed: int) -> None:
        self.work, self.cluster = work, cluster
        self.rng = random.Random(seed)
        self.outcome = Outcome()
        self._events: list[tuple[float, int, Kind, int, int]] = []
        self._count = 0
        share_s = work.num_records / cluster.num_tasks / work.rate
        self._tasks = [_Task(share_s) for _ in range(cluster.num_tasks)]
        self._queue = deque(range(cluster.num_tasks))
        self._on: dict[int, int] = {}  # node -> task
        self._free = set(range(cluster.num_nodes))
        self._taken: set[int] = set()  # nodes of high-priority jobs
        self._unfinished = cluster.num_tasks
        # The file server shares itself evenly, so listings end in the order in which they began.
        self._listing: deque[tuple[float, int, int]] = deque()  # progress at the end, task, run
        self._num_listing = 0  # without runs that ended before their listing
        self._progress_s, self._progress_at, self._version = 0.0, 0.0, 0

    def run(self) -> Outcome:
        """Runs until every task is done, or the first one is given up."""
        self._next_arrival(0.0)
        self._start_waiting(0.0)
        while self._unfinished and self.outcome.is_finished:
            now, _, kind, who, run = heapq.heappop(self._events)
            self.outcome.makespan_s = now
            if kind == "arrive":
                self._arrive(now)
            elif kind == "leave":
                self._taken.discard(who)
                self._free.add(who)
            elif kind == "queue":
                self._queue.append(who)
            elif kind == "listed":
                if run == self._version:
                    self._end_listing(now)
            elif run != self._tasks[who].run:
                continue
            elif kind == "list":
                self._tasks[who].listing = now
                self._advance(now)
                self._num_listing += 1
                self._listing.append((self._progress_s + self.work.listing_s, who, run))
                self._expect_listing(now)
            else:
                self._stop(now, who, kind)
            self._start_waiting(now)
        return self.outcome

    def _at(self, when: float, kind: Kind, who: int = -1, run: int = 0) -> None:
        self._count += 1  # ties in the order of their making
        heapq.heappush(self._events, (when, self._count, kind, who, run))

    # High-priority jobs

    def _next_arrival(self, now: float) -> None:
        cluster = self.cluster
        mean_s = cluster.hours_between_preemptions * HOUR * cluster.width / cluster.num_nodes
        self._at(now + self.rng.expovariate(1 / mean_s), "arrive")

    def _arrive(self, now: float) -> None:
        nodes = [node for node in range(self.cluster.num_nodes) if node not in self._taken]
        for node in self.rng.sample(nodes, min(self.cluster.width, len(nodes))):
            if (who := self._on.get(node)) is not None:
                self.outcome.num_preemptions += 1
                self._stop(now, who, "arrive")
            self._free.discard(node)
            self._taken.add(node)
            self._at(now + self.rng.expovariate(1 / self.cluster.hold_s), "leave", node)
        self._next_arrival(now)

    # The file server

    def _advance(self, now: float) -> None:
        """Brings the progress of each listing, which is the same for all, up to now."""
        speed = min(1.0, self.cluster.listings_at_once / max(1, self._num_listing))
        self._progress_s += speed * (now - self._progress_at)
        self._progress_at = now

    def _expect_listing(self, now: float) -> None:
        """Sets when the first listing ends if no other begins or stops before."""
        self._version += 1
        while self._listing and self._tasks[self._listing[0][1]].run != self._listing[0][2]:
            self._listing.popleft()
        if self._listing:
            left_s = max(0.0, self._listing[0][0] - self._progress_s)
            crowd = max(1.0, self._num_listing / self.cluster.listings_at_once)
            self._at(now + left_s * crowd, "listed", run=self._version)

    def _end_listing(self, now: float) -> None:
        self._advance(now)
        _, who, _ = self._listing.popleft()
        self._num_listing -= 1
        self._expect_listing(now)
        task = self._tasks[who]
        task.listed = now
        working = now + self.work.model_s
        if task.stopped is not None:
            self.outcome.idle.append(working - task.stopped)
        self._at(working + task.left_s, "end", who, task.run)

    # Tasks

    def _start_waiting(self, now: float) -> None:
        while self._queue and self._free:
            node, who = min(self._free), self._queue.popleft()
            self._free.remove(node)
            self._on[node] = who
            task = self._tasks[who]
            task.node, task.started, task.listing, task.listed = node, now, None, None
            self.outcome.num_starts += 1
            self._at(now + self.work.program_s, "list", who, task.run)
            self._at(now + self.cluster.limit_s - self.cluster.lead_s, "limit", who, task.run)

    def _stop(self, now: float, who: int, why: Kind) -> None:
        """Ends a run: the task is done, or stops after its batch, or is killed."""
        outcome, task = self.outcome, self._tasks[who]
        listing = now if task.listing is None else task.listing
        listed = now if task.listed is None else task.listed
        working = min(now, listed + self.work.model_s)
        outcome.listing_s += listed - listing
        outcome.loading_s += (listing - task.started) + (working - listed)
        was_listing = task.listing is not None and task.listed is None
        done_s = task.left_s if why == "end" else self._work_until_stop(now - working, task, why)
        outcome.work_s += done_s
        task.left_s -= done_s
        task.run += 1
        task.stopped = now
        if was_listing:
            self._advance(now)
            self._num_listing -= 1
            self._expect_listing(now)
        self._free.add(task.node)
        del self._on[task.node]
        if task.left_s < 1e-6:
            self._unfinished -= 1
            return
        task.restarts += 1
        outcome.most_restarts = max(outcome.most_restarts, task.restarts)
        if task.restarts > self.cluster.max_restarts:
            outcome.is_finished = False
        else:
            self._at(now + self.cluster.requeue_s, "queue", who)

    def _work_until_stop(self, worked_s: float, task: _Task, why: Kind) -> float:
        """The work that a run keeps: all of its batches, the last one if it ends in time."""
        outcome = self.outcome
        outcome.num_time_limits += why == "limit"
        in_hand_s = worked_s % self.work.seconds_per_batch
        rest_s = min(self.work.seconds_per_batch - in_hand_s, task.left_s - worked_s)
        if worked_s == 0 or rest_s <= self.cluster.lead_s:
            outcome.lost.append(0.0)
            return worked_s + (rest_s if worked_s else 0.0)
        outcome.num_killed += 1
        outcome.num_timed_out += why == "limit"
        lost_s = in_hand_s + self.cluster.lead_s
        outcome.lost.append(lost_s)
        outcome.lost_s += lost_s
        return worked_s - in_hand_s


def simulate(work: Work, cluster: Cluster, seeds: Sequence[int]) -> list[Outcome]:
    """One outcome for each seed."""
    return [Simulation(work, cluster, seed).run() for seed in seeds]


# Tables and plot

SEEDS = (1, 2, 3)
TASKS = (64, 256, 1_024)
LISTINGS = {
    "reads only names": Work(),
    "reads a listing": Work(listing_s=2 * LINES_S),
    "opens every picture": Work(listing_s=1_000),
}
READS_AT_ONCE = 10  # tasks that read pictures at full speed: 1 GB/s each of 10 GB/s


def stop_rule(seeds: Sequence[int]) -> str:
    """Work lost at a stop by speed, size of batches and lead."""
    leads = (0, 20, 60, 120)
    rows = []
    for rate in (0.1, 1, 5, 20):
        row = [f"{rate:g}"]
        for batch in (None, 32):
            lost = []
            for lead_s in leads:
                work = Work(num_records=int(rate * 1.6e6), rate=rate, batch_records=batch)
                cluster = Cluster(num_tasks=256, num_nodes=256, lead_s=lead_s)
                found = simulate(work, cluster, seeds)
                lost.append(statistics.mean(each for one in found for each in one.lost))
            row.append(", ".join(f"{each:.0f}" for each in lost))
        rows.append(row)
    named = ", ".join(f"{lead}" for lead in leads)
    head = ("pictures/s", f"batches of 10 s; lead {named} s", f"batches of 32; lead {named} s")
    return table(head, rows)


def by_tasks(seeds: Sequence[int]) -> str:
    """The same work in more and more tasks, and more often preempted."""
    rows = []
    for tasks, nodes in ((64, 64), (256, 256), (1_024, 1_024), (1_024, 64)):
        for hours in (4.0, 24.0):
            cluster = Cluster(num_tasks=tasks, num_nodes=nodes, hours_between_preemptions=hours)
            found = simulate(Work(), cluster, seeds)
            name = f"{tasks:,}" if tasks == nodes else f"{tasks:,}, at most {nodes} at once"
            rows.append((name, f"{hours:g} h", *_cells(found)))
    return table(
        (
            *("tasks", "a node is preempted every", "hours until done", "node hours"),
            *("on pictures", "listing", "preemptions", "from a stop to the next picture"),
        ),
        rows,
    )


def _cells(found: Sequence[Outcome]) -> Iterator[str]:
    mean = statistics.mean
    yield f"{mean(one.makespan_s for one in found) / HOUR:.1f}"
    yield f"{mean(one.node_hours for one in found):.0f}"
    yield f"{100 * mean(one.useful for one in found):.0f} %"
    yield f"{100 * mean(one.listing_s / HOUR / one.node_hours for one in found):.0f} %"
    yield f"{mean(one.num_preemptions for one in found):.0f}"
    idle = [each for one in found for each in one.idle]
    yield f"{statistics.median(idle) / 60:.0f} min" if idle else "-"


@cache
def shares(work: Work, seeds: Sequence[int]) -> list[float | None]:
    """The share of node hours on pictures for each number of tasks; None if it does not end."""
    found = []
    for tasks in TASKS:
        at_once = READS_AT_ONCE if work.listing_s > 100 else Cluster.listings_at_once
        cluster = Cluster(num_tasks=tasks, num_nodes=tasks, listings_at_once=at_once)
        outcomes = simulate(work, cluster, seeds)
        is_ended = all(one.is_finished for one in outcomes)
        found.append(statistics.mean(one.useful for one in outcomes) if is_ended else None)
    return found


def listings(seeds: Sequence[int]) -> str:
    """When the listing dominates."""
    rows = []
    for name, work in LISTINGS.items():
        cells = [f"{100 * s:.0f} %" if s is not None else "never ends" for s in shares(work, seeds)]
        rows.append((name, f"{work.listing_s:,.0f} s", *cells))
    return table(("a start", "alone takes", *(f"{tasks:,} tasks" for tasks in TASKS)), rows)


def tables(seeds: Sequence[int] = SEEDS) -> dict[str, str]:
    """The tables of docs/scale.md by the names of their markers."""
    return {
        "preemption-stop": stop_rule(seeds),
        "preemption-tasks": by_tasks(seeds),
        "preemption-listing": listings(seeds),
    }


COLOURS = ("#0b6e99", "#d9730d", "#9f2f2f")
WIDTH, HEIGHT, LEFT, TOP = 640, 300, 60, 24
RIGHT, BOTTOM = WIDTH - 150, HEIGHT - 46


def plot(seeds: Sequence[int] = SEEDS) -> str:
    """SVG: the share of node hours on pictures over the number of tasks, a line per listing."""
    step = (RIGHT - LEFT) / (len(TASKS) - 1)
    drawn = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for percent in range(0, 101, 25):
        y = BOTTOM - (BOTTOM - TOP) * percent / 100
        drawn.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#ddd"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"{percent} %", "end"))
    for number, tasks in enumerate(TASKS):
        drawn.append(_text(LEFT + step * number, BOTTOM + 20, f"{tasks:,}", "middle"))
    drawn.append(_text((LEFT + RIGHT) / 2, BOTTOM + 40, "tasks", "middle"))
    drawn.append(_text(LEFT, 14, "node hours spent on pictures", "start"))
    for colour, (name, work) in zip(COLOURS, LISTINGS.items(), strict=True):
        points = [
            (LEFT + step * number, BOTTOM - (BOTTOM - TOP) * (share or 0))
            for number, share in enumerate(shares(work, seeds))
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = points[-1]
        drawn.append(_text(x + 8, y + 4, name, "start", colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' font-family="sans-serif" font-size="13">\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def main() -> None:
    """Prints the tables; `--plot FILE.svg` draws as well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="Simulations of each row.")
    parser.add_argument("--plot", type=Path, help="Write the plot to FILE.svg.")
    options = parser.parse_args()
    seeds = tuple(range(1, 1 + options.seeds))
    sys.stdout.write("\n".join(tables(seeds).values()))
    if options.plot:
        options.plot.write_text(plot(seeds))


if __name__ == "__main__":
    main()
