"""benchmarks/plan.py, preemption.py and system_calls.py: the arithmetic behind docs/scale.md."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.tree import ROOT

sys.path.insert(0, str(ROOT))  # as benchmarks are run from there

from benchmarks import plan
from benchmarks.plan import Plan
from benchmarks.preemption import HOUR, Cluster, Outcome, Simulation, Work
from benchmarks.system_calls import Calls, calls_of, trace

ALONE = Cluster(num_tasks=8, num_nodes=8, hours_between_preemptions=1e9, limit_s=1e9)
BUSY = Cluster(num_tasks=32, num_nodes=24, hours_between_preemptions=1, limit_s=2 * HOUR)
WORK = Work(num_records=1_000_000)


def simulate(work: Work, cluster: Cluster, seed: int = 1) -> Outcome:
    return Simulation(work, cluster, seed).run()


# The plan


def test_twice_the_pictures_cost_twice_the_bytes_and_operations() -> None:
    one, two = plan.caption(Plan(pictures=10**6)), plan.caption(Plan(pictures=2 * 10**6))

    assert two.bytes_read == 2 * one.bytes_read
    assert two.ops_records == 2 * one.ops_records


def test_the_number_of_tasks_changes_only_what_starts_cost() -> None:
    few, many = plan.caption(Plan(tasks=64)), plan.caption(Plan(tasks=1024))

    assert many.bytes_read == few.bytes_read and many.ops_records == few.ops_records
    started = [each.node_hours - (each.tasks + each.requeues) * each.start_s / HOUR
               for each in (few, many)]  # fmt: skip
    assert started == pytest.approx([2e6 / 5 / HOUR] * 2)


def test_pictures_in_tars_are_fewer_files_than_pictures() -> None:
    assert plan.synth(Plan(), is_tar=False).files > Plan().made
    assert plan.synth(Plan(), is_tar=True).files < Plan().made / 500


def test_an_option_of_the_script_changes_its_tables() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "plan.py")]

    def printed(*options: str) -> str:
        return subprocess.run(
            [*script, *options], check=True, capture_output=True, text=True
        ).stdout

    assert printed() == "\n".join(plan.tables(Plan()).values())
    assert printed("--tasks", "7") == "\n".join(plan.tables(replace(Plan(), tasks=7)).values())
    assert printed("--tasks", "7") != printed()


def test_the_operations_of_the_plan_are_those_of_the_results() -> None:
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    section = text.partition("\n## Metadata operations")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|.*\| ([0-9.,]+) \|$", section, re.MULTILINE)
    record, task, program = (dict(rows[start : start + 5]) for start in (0, 5, 10))

    assert float(record["caption"]) == plan.OPS_CAPTION
    assert float(record["synth, png"]) == plan.OPS_SYNTH_PNG
    assert float(record["synth, webdataset"]) == plan.OPS_SYNTH_TAR
    assert float(record["train-encoder, files"]) == plan.OPS_TRAIN
    assert float(task["caption"]) == plan.OPS_START
    for name, used in (
        ("caption", plan.OPS_PROGRAM),
        ("train-encoder, files", plan.OPS_PROGRAM_TORCH),
    ):
        assert float(program[name]) == pytest.approx(used, rel=0.01)


# The simulation


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("lead_s", [0.0, 120.0])
def test_every_record_is_done_once_whatever_is_preempted(seed: int, lead_s: float) -> None:
    outcome = simulate(WORK, replace(BUSY, lead_s=lead_s), seed)

    assert outcome.is_finished and outcome.num_preemptions > 10
    assert outcome.work_s == pytest.approx(WORK.num_records / WORK.rate)


def test_a_seed_gives_the_same_outcome_again() -> None:
    assert simulate(WORK, BUSY, 5) == simulate(WORK, BUSY, 5)
    assert simulate(WORK, BUSY, 5) != simulate(WORK, BUSY, 6)


def test_undisturbed_tasks_cost_their_work_and_one_start_each() -> None:
    outcome = simulate(WORK, ALONE)

    start_s = WORK.program_s + WORK.listing_s + WORK.model_s
    assert outcome.num_starts == 8 and outcome.lost == []
    assert outcome.node_hours * HOUR == pytest.approx(200_000 + 8 * start_s)
    assert outcome.makespan_s == pytest.approx(25_000 + start_s)


def test_listings_beyond_what_the_file_server_serves_take_longer() -> None:
    alone, crowded = (simulate(WORK, replace(ALONE, listings_at_once=n)) for n in (8, 2))

    assert crowded.listing_s == pytest.approx(4 * alone.listing_s)


def test_a_batch_is_lost_only_if_it_takes_longer_than_the_lead() -> None:
    short = simulate(replace(WORK, batch_s=10), replace(BUSY, lead_s=10))
    long = simulate(replace(WORK, batch_s=60), replace(BUSY, lead_s=10))

    assert short.lost and short.lost_s == 0 == short.num_killed
    assert long.num_killed and long.lost_s > 0


def test_a_listing_longer_than_the_time_limit_never_ends() -> None:
    outcome = simulate(replace(WORK, listing_s=3 * HOUR), BUSY)

    assert not outcome.is_finished and outcome.work_s == 0


# System calls


LOG = """\
7 openat(AT_FDCWD</x>, "/data/a.jpg", O_RDONLY|O_CLOEXEC) = 3</data/a.jpg>
7 read(3</data/a.jpg>, ""..., 4096) = 4000
8 fsync(5</out/b> <unfinished ...>
7 read(3</data/a.jpg>, ""..., 4096) = 0
8 <... fsync resumed>) = 0
7 fcntl(3</data/a.jpg>, F_GETFD) = 0
7 newfstatat(AT_FDCWD</x>, "/data/no.jpg", 0x7f, 0) = -1 ENOENT (No such file or directory)
"""


def test_calls_are_counted_by_kind_with_the_bytes_that_were_read() -> None:
    data, out = Calls(), Calls()
    for name, rest in calls_of(iter(LOG.splitlines(keepends=True))):
        (out if "/out/" in rest else data).add(name, rest)

    assert data.kinds == {"open": 1, "read": 2, "stat": 1} and data.bytes_read == 4000
    assert out.kinds == {"sync": 1}


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace here")
def test_a_trace_tells_the_files_of_a_place_from_others(tmp_path: Path) -> None:
    for name, size in (("here", 1000), ("there", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(size))

    command = ["cat", str(tmp_path / "here" / "file"), str(tmp_path / "there" / "file")]
    try:
        (here, there), _ = trace(command, [tmp_path / "here", tmp_path / "there"])
    except subprocess.CalledProcessError:
        pytest.skip("tracing is not allowed here")

    assert (here.bytes_read, there.bytes_read) == (1000, 10)
    assert here.opened == {str(tmp_path / "here" / "file")}
