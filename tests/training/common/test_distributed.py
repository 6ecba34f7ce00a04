"""Several processes: launch settings, and launchers that do not join."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.common.distributed import check_all_nodes_joined

ROOT = Path(__file__).parents[3]
SETTINGS = ROOT / "examples" / "accelerate"


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
