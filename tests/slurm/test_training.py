"""Training on two nodes of a real Slurm: each node says little when it is stopped."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.conftest import jsonl
from tests.slurm.conftest import Desk

TRAIN = "examples/slurm/train.sbatch"
SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
OPTIONS = (
    *("--init", "size.json", "--text-weight", "0", "--global-batch", "8"),
    *("--images-per-style", "2", "--holdout", "0"),
)
NODES = ("--gpus-per-node=1", "--cpus-per-task=1", "--mem=2000")


@pytest.fixture
def styles(desk: Desk) -> Desk:
    """A working folder with images of four styles in styles/."""
    (desk.folder / "styles").mkdir()
    records = []
    for n in range(16):
        noise = np.random.default_rng(n).integers(0, 40, (16, 16, 3)) + 50 * (n // 4)
        Image.fromarray(noise.astype(np.uint8)).save(desk.folder / "styles" / f"{n}.png")
        records.append({"id": f"p{n}", "file_name": f"{n}.png", "style_id": str(n // 4)})
    jsonl(desk.folder / "styles" / "metadata.jsonl", records)
    (desk.folder / "size.json").write_text(json.dumps(SIZE))
    return desk


def test_a_preempted_training_on_two_nodes_goes_on_and_leaves_a_short_log(styles: Desk) -> None:
    desk, metrics = styles, styles.folder / "out" / "metrics.jsonl"
    site = desk.folder / "examples" / "slurm" / "site.conf"
    site.write_text(f"scratch={desk.lab.scratch} stage=yes\n")

    job = desk.submit(
        *("-p", "grace", *NODES, TRAIN, "train-encoder", "styles", "out"),
        *(*OPTIONS, "--steps", "200"),
    )
    desk.wait_while_running(job, lambda: metrics.exists() and '"loss"' in metrics.read_text())
    desk.preempt("n1")
    desk.assert_completed(desk.lab.wait(job))

    (log,) = (desk.folder / "logs").iterdir()
    first, second = log.read_text().split("stopped by a signal; the same command with --resume")
    assert "2 x 4 on cpu" in first and "2 x 4 on cpu" in second
    assert " from step 0\n" not in second and " from step " in second
    assert "Traceback" not in first + second and "exitcode" not in first + second
    assert (desk.folder / "out" / "encoder").exists()
    assert desk.run("srun", "-N2", "-w", "n0,n1", "ls", desk.lab.scratch) == ""
