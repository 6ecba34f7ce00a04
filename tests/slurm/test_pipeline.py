"""pipeline.sh on a real Slurm: the whole chain, and nothing twice."""

import json

from tests.slurm.conftest import Desk

CONFIG = """
run=demo
styles=examples/pictures/styles contents=examples/pictures/contents
tasks=0-1%2 caption_job=caption.sbatch synth_job=synth.sbatch train=no
sbatch_options=(--mem=1000 --cpus-per-task=1)
caption_options=() dedup_options=() cluster_options=(--sample 3) pair_options=(--per-style 2)
synth_options=(--size 64) eval_options=() train_options=() train_sbatch_options=()
"""
STEPS = [
    *("caption-style", "dedup-styles", "cluster", "caption-content", "dedup-contents"),
    *("pair", "synth", "eval"),
]


def test_the_chain_ends_with_scores_and_is_not_run_twice(desk: Desk) -> None:
    (desk.folder / "run.conf").write_text(CONFIG)
    pipeline = ("examples/slurm/pipeline.sh", "run.conf")

    jobs = dict(line.split(": job ") for line in desk.run(*pipeline).splitlines())
    again = desk.run(*pipeline).splitlines()
    desk.assert_completed(desk.lab.wait(*map(int, jobs.values())))

    assert list(jobs) == STEPS
    assert again == [f"{step}: job {job}, submitted before" for step, job in jobs.items()]
    assert json.loads((desk.folder / "demo" / "scores.json").read_text())["n"] == 6
    assert len(list((desk.folder / "demo" / "synth").rglob("*.tar"))) == 2

    for part in (desk.folder / "demo" / "captions-style").glob("part-00001-of-00002*"):
        part.unlink()
    (desk.folder / "demo" / "scores.json").unlink()
    later = dict(line.split(": ") for line in desk.run(*pipeline).splitlines())
    assert [step for step in STEPS if later[step].startswith("job ")] == ["caption-style", "eval"]
    tasks = desk.lab.wait(int(later["caption-style"][4:]), int(later["eval"][4:]))
    desk.assert_completed(tasks)
    assert [task.number for task in tasks] == [1, None]
