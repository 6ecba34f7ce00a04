"""Ray on two nodes of a real Slurm: the bytes of one process, and nothing left."""

from pathlib import Path

from tests.conftest import needs_ray
from tests.contract.test_engines import prompts
from tests.slurm.conftest import Desk

JOB = "examples/slurm/dedup_ray.sbatch"
NODES = ("--cpus-per-task=1", "--mem=1000")


@needs_ray
def test_a_ray_job_gives_the_bytes_of_one_process_and_leaves_nothing(desk: Desk) -> None:
    prompts(desk.folder, 300)
    desk.run("megastyle", "dedup", "prompts.jsonl", "--no-semantic", "-q", "-o", "alone.jsonl")

    job = desk.submit(*NODES, JOB, "prompts.jsonl", "out.jsonl", "--no-semantic", "-v")
    desk.assert_completed(desk.lab.wait(job))

    assert (desk.folder / "out.jsonl").read_bytes() == (desk.folder / "alone.jsonl").read_bytes()
    log = desk.log()
    assert "Ray works on 2 nodes, 2 calls at once" in log
    assert "Killed" not in log and "srun: error" not in log
    assert not list(Path("/tmp").glob(f"ray-{job}*"))


@needs_ray
def test_a_ray_job_ends_as_its_command_does(desk: Desk) -> None:
    job = desk.submit(*NODES, JOB, "missing.jsonl", "out.jsonl")
    (task,) = desk.lab.wait(job)

    assert (task.state, task.exit_code) == ("FAILED", 2), desk.log()
    assert not list(Path("/tmp").glob(f"ray-{job}*"))
