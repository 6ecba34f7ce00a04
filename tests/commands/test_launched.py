"""train-flux under the real launchers: a signal, or one rank killed, and what goes on from it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import fork_server
from tests.commands.test_train_flux import flags_of, folder, same_weights
from tests.commands.trainings import EVERY_STEP, has_made_a_step, metrics_of, start_ranks
from tests.conftest import free_port

__all__ = ["folder"]  # a fixture

SETTINGS = Path(__file__).parents[2] / "examples" / "accelerate" / "one_node.yaml"
LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--nproc-per-node", "2", "--no-python", "--master-port"],
    "accelerate": [
        *("accelerate.commands.launch", "--config_file", str(SETTINGS)),
        *("--num_processes", "2", "--no_python", "--main_process_port"),
    ],
}


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """Two processes, uninterrupted."""
    run = folder / "whole"
    ranks = start_ranks([*flags_of(folder), "-q", "-o", run])
    assert [rank.wait() for rank in ranks] == [0, 0]
    return run


def launched(
    launcher: str, reports: Path, arguments: list[str], run: Path
) -> "subprocess.Popen[bytes] | fork_server.ForkedProcess":
    """The training under that launcher, after a step of its own; ranks write to `reports`."""
    before = len(metrics_of(run)) if (run / "metrics.jsonl").exists() else 0
    module, *flags = LAUNCHERS[launcher]
    fork_server.write_program(reports / "rank", reports)
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = (*flags, free_port(), reports / "rank", *arguments)
    started = fork_server.start(*words, module=module, **streams)
    while started.poll() is None and not has_made_a_step(run, before):
        time.sleep(0.01)
    return started


def test_launched_stopped_killed_and_resumed_equals_uninterrupted_bit_for_bit(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = [*flags_of(folder), "-o", str(run)]

    # torchrun hands the signal on, and makes 1 of exit code 75
    started = launched("torchrun", tmp_path / "torchrun", [*arguments, *EVERY_STEP], run)
    started.send_signal(signal.SIGTERM)
    stderr = started.communicate()[1].decode()
    assert "batch 4 = 2 x 2 pairs" in stderr and "--resume continues" in stderr, stderr
    assert started.returncode != 0 and (run / "stopped").exists()

    # continued under accelerate, where one rank alone is killed
    resumed = [*arguments, *EVERY_STEP, "--resume"]
    started = launched("accelerate", tmp_path / "accelerate", resumed, run)
    os.kill(int((tmp_path / "accelerate" / "1.pid").read_text()), signal.SIGKILL)
    stderr = started.communicate()[1].decode()
    assert "batch 4 = 2 x 2 pairs" in stderr and started.returncode != 0, stderr
    assert not (run / "stopped").exists()
    assert not (run / "lora").exists() and not list(run.rglob(".*.tmp"))

    ranks = start_ranks([*arguments, "-q", "--resume"])

    assert [rank.wait() for rank in ranks] == [0, 0]
    assert same_weights(run, whole) and metrics_of(run) == metrics_of(whole)
