"""What goes wrong on a cluster: dead nodes, full disks, bad pictures, cancelled tasks."""

from pathlib import Path

from tests.conftest import lines
from tests.contract.test_engines import prompts
from tests.slurm.conftest import CAPTION, SLOW, Desk, lines_of, parts_of


def captions_of(desk: Desk) -> Path:
    return desk.folder / "captions"


def test_one_task_that_was_cancelled_is_submitted_alone(desk: Desk, plain: list[bytes]) -> None:
    job = desk.submit("--array=0-3", CAPTION, "imgs", "captions", *SLOW, SLOW_S="1")
    desk.wait_while_running(job, lambda: any(captions_of(desk).glob("part-00002*.partial")))
    desk.run("scancel", f"{job}_2")
    first = desk.lab.wait(job)
    assert [task.state for task in first if task.number == 2] == ["CANCELLED"]

    again = desk.submit("--array=2", CAPTION, "imgs", "captions", *SLOW)
    desk.assert_completed(desk.lab.wait(again))

    parts = parts_of(captions_of(desk))
    assert len(parts) == 4 and lines_of(*parts) == plain


def test_a_task_whose_node_died_completes_elsewhere(desk: Desk, plain: list[bytes]) -> None:
    job = desk.submit("--array=0-1", CAPTION, "imgs", "captions", *SLOW, SLOW_S="5")
    desk.wait_while_running(job, lambda: any(captions_of(desk).glob("part-00000*.partial")))
    node = desk.lab.tasks(job)[0].node
    desk.lab.kill_node(node)  # the process lives on, and holds its part

    try:
        tasks = desk.lab.wait(job)
    finally:
        desk.lab.start_node(node)
    desk.assert_completed(tasks)
    assert tasks[0].restarts > 0
    assert lines_of(*parts_of(captions_of(desk))) == plain


def test_a_full_disk_fails_a_job_once_and_room_lets_it_run(desk: Desk) -> None:
    prompts(desk.folder, 900)
    dedup = f"srun env TMPDIR={desk.lab.scratch} megastyle dedup prompts.jsonl --no-semantic"
    # but for 64 KiB: a folder where nothing can be written is not taken for temporary files
    fill = f"dd if=/dev/zero of={desk.lab.scratch}/all bs=64k count=127; {dedup} -o out.jsonl"
    free = f"rm {desk.lab.scratch}/all; {dedup} -o out.jsonl"
    flags = ("-w", "n0", "-o", "logs/%j.out")

    full = desk.submit(*flags, "--wrap", fill)
    room = desk.submit(*flags, f"--dependency=afterany:{full}", "--wrap", free)
    (failed,) = desk.lab.wait(full)
    desk.assert_completed(desk.lab.wait(room))

    assert (failed.state, failed.exit_code, failed.restarts) == ("FAILED", 1, 0)
    assert f"{desk.lab.scratch}: no space left on device" in desk.log()
    desk.run("megastyle", "dedup", "prompts.jsonl", "--no-semantic", "-q", "-o", "plain.jsonl")
    assert (desk.folder / "out.jsonl").read_bytes() == (desk.folder / "plain.jsonl").read_bytes()


def test_a_chain_goes_on_after_one_bad_picture(desk: Desk, plain: list[bytes]) -> None:
    (desk.folder / "imgs" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    small = ("--mem=1000", "--cpus-per-task=1")

    job = desk.submit("--array=0-1", CAPTION, "imgs", "captions", *SLOW, "--max-errors", "1")
    after = (f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes", *small)
    then = ("dedup", "captions", "--no-semantic", "-o", "styles.jsonl")
    next_job = desk.submit(*after, "examples/slurm/command.sbatch", *then)
    desk.assert_completed(desk.lab.wait(job, next_job))

    assert lines_of(*parts_of(captions_of(desk))) == plain
    (error,) = lines(b"".join(lines_of(*captions_of(desk).glob("*.errors.jsonl"))))
    assert error["file_name"].endswith("bad.png")
    assert (desk.folder / "styles.jsonl").exists()
