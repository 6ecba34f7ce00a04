"""Arrays on a real Slurm: interrupted in every way, their parts are together the plain run."""

import pytest

from tests.contract.test_docs import recipe
from tests.slurm.conftest import CAPTION, SLOW, Desk, lines_of, parts_of


def submit_array(desk: Desk, *flags: str, seconds: str = "2") -> int:
    return desk.submit("--array=0-3", *flags, CAPTION, "imgs", "captions", *SLOW, SLOW_S=seconds)


def wait_for_work(desk: Desk, job: int) -> None:
    """Until a part has a record."""
    parts = desk.folder / "captions"

    def has_lines() -> bool:
        return any(path.read_bytes() for path in parts.glob("*.partial"))

    desk.wait_while_running(job, has_lines)


def node_at_work(desk: Desk, job: int) -> str:
    """A node that runs a task of the job."""
    return next(task.node for task in desk.lab.tasks(job) if task.state == "RUNNING")


def test_an_array_writes_the_lines_of_the_plain_run(desk: Desk, plain: list[bytes]) -> None:
    job = submit_array(desk, seconds="0")

    desk.assert_completed(desk.lab.wait(job))
    parts = parts_of(desk.folder / "captions")
    assert len(parts) == 4 and lines_of(*parts) == plain
    assert {path.name for path in (desk.folder / "logs").iterdir()} == {
        f"caption-{job}_{task}.out" for task in range(4)
    }


@pytest.mark.parametrize("partition", ["low", "grace"])
def test_a_preempted_array_goes_on(desk: Desk, plain: list[bytes], partition: str) -> None:
    job = submit_array(desk, "-p", partition)
    wait_for_work(desk, job)
    desk.preempt(node_at_work(desk, job))

    tasks = desk.lab.wait(job)
    desk.assert_completed(tasks)
    assert sum(task.restarts for task in tasks) > 0
    assert lines_of(*parts_of(desk.folder / "captions")) == plain


def test_an_array_goes_on_when_its_time_was_up(desk: Desk, plain: list[bytes]) -> None:
    # Slurm looks for such jobs twice a minute
    flags = ("--array=0-1", "--time=1", "--signal=USR1@57")
    job = desk.submit(*flags, CAPTION, "imgs", "captions", *SLOW, SLOW_S="5")

    tasks = desk.lab.wait(job)
    desk.assert_completed(tasks)
    assert sum(task.restarts for task in tasks) > 0
    assert lines_of(*parts_of(desk.folder / "captions")) == plain


def test_the_tasks_of_a_step_without_a_launcher_share_the_work(
    desk: Desk, plain: list[bytes]
) -> None:
    caption = ("megastyle", "caption", "imgs", "--shard", "auto", "-o", "captions", *SLOW)

    desk.run("srun", "-N2", "-n2", *caption)

    parts = parts_of(desk.folder / "captions")
    assert len(parts) == 2 and lines_of(*parts) == plain


def test_the_block_of_the_guide_runs_as_it_is_pasted(desk: Desk) -> None:
    block = recipe("guides/cluster.md", "#SBATCH --job-name")
    small = block.replace("0-63%16", "0-1%2").replace("--kind style", " ".join(SLOW))
    assert small.count("tests.slurm.slow") == 1

    job = int(desk.run("bash", "-euo", "pipefail", "-c", small).split()[-1])

    desk.assert_completed(desk.lab.wait(job))
    assert len(parts_of(desk.folder / "captions")) == 2
