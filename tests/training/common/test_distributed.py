"""Several processes: launch settings, and the Slurm job as two nodes on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from accelerate.commands.config.config_args import load_config_from_file
from PIL import Image

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.common.distributed import check_all_nodes_joined
from tests.conftest import jsonl

ROOT = Path(__file__).parents[3]
JOB = ROOT / "examples" / "slurm" / "train.sbatch"
SETTINGS = ROOT / "examples" / "accelerate"
SIZE = (
    '{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,'
    ' "num_attention_heads": 2, "image_size": 16, "patch_size": 8}'
)
ALLOCATION = {
    "SLURM_GPUS_ON_NODE": "1",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[0-1]",
    "SLURM_JOB_ID": str(os.getpid()),  # the port comes from it
    "OMP_NUM_THREADS": "1",
}

# What srun does, for a job of two nodes that are both this machine.
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
for node in 0 1; do
  SLURM_STEP_NUM_NODES=2 SLURM_NODEID=$node "$@" &
  tasks+=($!)
done
trap 'kill -USR1 "${tasks[@]}"' USR1
worst=0
for task in "${tasks[@]}"; do
  while :; do
    rc=0
    wait "$task" || rc=$?
    kill -0 "$task" 2> /dev/null || break
  done
  [ "$rc" -eq 0 ] || worst=$rc
done
exit "$worst"
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> requeued; fi
"""


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A working directory with the examples, images of four styles, and two Slurm commands."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "imgs").mkdir()
    records = []
    for n in range(16):
        noise = np.random.default_rng(n).integers(0, 40, (16, 16, 3)) + 50 * (n // 4)
        Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "imgs" / f"{n}.png")
        records.append({"id": f"p{n}", "file_name": f"{n}.png", "style_id": str(n // 4)})
    jsonl(tmp_path / "imgs" / "metadata.jsonl", records)
    (tmp_path / "size.json").write_text(SIZE)
    (tmp_path / "requeued").write_text("")
    executable(tmp_path / "bin" / "srun", SRUN)
    executable(tmp_path / "bin" / "scontrol", SCONTROL)
    launcher = (
        f'#!/usr/bin/env bash\nshift\nexec "{sys.executable}" -m accelerate.commands.launch "$@"\n'
    )
    executable(tmp_path / "bin" / "accelerate", launcher)
    return tmp_path


def submitted(cluster: Path, *flags: str, **changed: str) -> "subprocess.Popen[bytes]":
    options = ["--init", "size.json", "--text-weight", "0", "--global-batch", "8", *flags]
    path = f"{cluster / 'bin'}:{os.environ['PATH']}"
    return subprocess.Popen(
        [
            "bash",
            str(JOB),
            "train-encoder",
            "imgs",
            "out",
            *options,
            "--images-per-style",
            "2",
            "--holdout",
            "0",
        ],
        cwd=cluster,
        env={**os.environ, **ALLOCATION, **changed, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_job_trains_on_both_nodes_and_is_requeued_when_its_time_is_up(cluster: Path) -> None:
    job = submitted(cluster, "--steps", "100000")
    metrics = cluster / "out" / "metrics.jsonl"
    while job.poll() is None and not (metrics.exists() and '"loss"' in metrics.read_text()):
        time.sleep(0.05)

    # to the step, not to the batch script: what --signal=USR1@120 does
    (srun,) = subprocess.check_output(["pgrep", "-P", str(job.pid)]).split()
    os.kill(int(srun), signal.SIGUSR1)
    stderr = job.communicate()[1].decode()

    assert "batch 8 = 4 styles x 2, 2 x 4" in stderr
    assert "--resume continues" in stderr and (cluster / "out" / "latest").exists()
    assert (cluster / "requeued").read_text() == f"requeue {ALLOCATION['SLURM_JOB_ID']}\n"


def test_a_failed_job_is_not_requeued(cluster: Path) -> None:
    (cluster / "out").mkdir()
    (cluster / "out" / "stopped").touch()  # from an earlier start
    executable(cluster / "bin" / "srun", "#!/usr/bin/env bash\nexit 1\n")

    job = submitted(cluster)
    job.communicate()

    assert job.returncode == 1 and (cluster / "requeued").read_text() == ""


@pytest.mark.parametrize(
    "name", ["SLURM_GPUS_ON_NODE", "SLURM_JOB_NUM_NODES", "SLURM_JOB_NODELIST"]
)
def test_a_job_outside_slurm_starts_nothing(cluster: Path, name: str) -> None:
    executable(cluster / "bin" / "srun", "#!/usr/bin/env bash\ntouch started\n")

    job = submitted(cluster, **{name: ""})
    stderr = job.communicate()[1]

    assert job.returncode == 1 and b"start this with sbatch" in stderr
    assert not (cluster / "started").exists()


@pytest.mark.parametrize(
    ("name", "kind", "machines"),
    [("one_gpu", "NO", 1), ("one_node", "MULTI_GPU", 1), ("multi_node", "MULTI_GPU", 2)],
)
def test_accelerate_reads_the_settings(name: str, kind: str, machines: int) -> None:
    config = load_config_from_file(str(SETTINGS / f"{name}.yaml"))

    assert (config.distributed_type.value, config.num_machines) == (kind, machines)
    assert config.mixed_precision == "no" and config.use_cpu is False
    assert config.rdzv_backend == ("c10d" if machines > 1 else "static")


def test_a_launcher_that_joined_one_of_several_nodes_is_rejected() -> None:
    with pytest.raises(MegastyleError, match="has 2 nodes, but this launcher uses 1"):
        check_all_nodes_joined({"SLURM_STEP_NUM_NODES": "2", "GROUP_WORLD_SIZE": "1"})

    check_all_nodes_joined({"SLURM_STEP_NUM_NODES": "2", "GROUP_WORLD_SIZE": "2"})
    check_all_nodes_joined({"SLURM_STEP_NUM_NODES": "1", "GROUP_WORLD_SIZE": "1"})
    check_all_nodes_joined({})
