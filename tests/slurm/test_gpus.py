"""The jobs for GPUs on a real Slurm, which counts GPUs that nobody uses."""

import sys

from tests.conftest import jsonl
from tests.contract.test_docs import FAKE_VLLM
from tests.contract.tree import ROOT
from tests.slurm.conftest import Desk, lines_of, parts_of

SMALL = ("--mem=1000", "--cpus-per-task=1")
PAIRS = {"style": "In woodcut.", "content": "A fox", "content_file_name": "imgs/1.png"}


def test_ranks_of_a_launcher_are_stopped_and_go_on(desk: Desk) -> None:
    pairs = [{"id": f"r{n}", **PAIRS, "style_file_name": f"imgs/{n}.png"} for n in range(16)]
    jsonl(desk.folder / "pairs.jsonl", pairs)
    slow = ("--backend", "tests.slurm.slow:SlowPainter", "--size", "32", "--batch-size", "1")
    folder = (*slow, "--format", "folder")
    desk.run("megastyle", "synth", "pairs.jsonl", *folder, "-q", "-o", "plain/one")

    array = (*SMALL, "--array=0-1", "--gpus-per-task=2", "examples/slurm/synth_gpu.sbatch")
    job = desk.submit(*array, "pairs.jsonl", "out", *folder, SLOW_S="2")
    out = desk.folder / "out"
    desk.wait_while_running(job, lambda: len(list(out.rglob("*.png"))) > 1)
    desk.run("scancel", "--signal=USR1", job)
    tasks = desk.lab.wait(job)

    desk.assert_completed(tasks)
    assert sum(task.restarts for task in tasks) > 0
    assert "Traceback" not in desk.log() and "exitcode" not in desk.log()
    listings = list(out.glob("part-0000?-of-00004/metadata.jsonl"))
    assert len(listings) == 4
    assert lines_of(*listings) == lines_of(desk.folder / "plain" / "one" / "metadata.jsonl")
    pictures = {path.name: path.read_bytes() for path in out.rglob("*.png")}
    assert len(pictures) == 16
    assert pictures == {path.name: path.read_bytes() for path in desk.folder.glob("plain/**/*.png")}


def test_each_task_has_a_server_of_its_own_and_ends_it(desk: Desk) -> None:
    (desk.folder / "fake_vllm.py").write_text(FAKE_VLLM)
    vllm = desk.folder / ".vllm" / "bin" / "vllm"
    vllm.parent.mkdir(parents=True)
    vllm.write_text(f'#!/bin/sh\necho $$ >> servers\nexec "{sys.executable}" fake_vllm.py "$@"\n')
    vllm.chmod(0o755)

    array = (*SMALL, "--array=0-1", "--gpus-per-task=1", "examples/slurm/caption_gpu.sbatch")
    settings = {"MODEL": "tiny", "PYTHONPATH": str(ROOT), "VLLM_ENV": ".vllm"}
    job = desk.submit(*array, "imgs", "captions", "--kind", "content", **settings)
    desk.assert_completed(desk.lab.wait(job))

    parts = parts_of(desk.folder / "captions")
    assert len(parts) == 2 and len(lines_of(*parts)) == 16
    servers = (desk.folder / "servers").read_text().split()
    assert len(servers) == 2
    left = desk.run("ps", "-A", "-o", "pid=").split()
    assert not set(servers) & set(left)
