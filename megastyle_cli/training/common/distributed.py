"""Processes of a distributed training: start, checks of the launch, and agreement among ranks."""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.file_kind import is_stream_input

# A rank waits so long for the others. The default of a GPU, 10 minutes, is less than it takes the
# first rank to write a checkpoint of 10 GB to a busy network disk; a rank that was killed ends the
# others through its launcher, not through this limit.
TIMEOUT = timedelta(hours=2)


def start_accelerator(command: str) -> Accelerator:
    """Joins the processes that accelerate or torchrun started, or runs alone.

    Raises MegastyleError if each process, or each node, runs alone although several were started:
    accelerate has to be told explicitly to use CPUs.
    """
    check_all_nodes_joined(os.environ)
    # No model here has buffers that change.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    group = InitProcessGroupKwargs(timeout=TIMEOUT)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[ddp, group]
    )
    expected = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != expected:
        raise MegastyleError(
            f"{expected} processes were started, but {accelerator.num_processes} are connected",
            hint=f"start with: accelerate launch -m megastyle_cli {command} ...",
        )
    return accelerator


def check_all_nodes_joined(environ: Mapping[str, str]) -> None:
    """Raises MegastyleError if the launcher on each of several nodes joined only its own processes.

    Slurm gives the number of nodes of the step, torchrun (which accelerate starts) those that
    joined.
    """
    nodes, joined = environ.get("SLURM_STEP_NUM_NODES"), environ.get("GROUP_WORLD_SIZE")
    if nodes and joined and int(joined) < int(nodes):
        raise MegastyleError(
            f"the Slurm step has {nodes} nodes, but this launcher uses {joined} of them",
            hint="give accelerate launch --num_machines and one --main_process_ip for all nodes",
        )


def check_batch_divides(batch: int, accelerator: Accelerator) -> None:
    """Raises MegastyleError unless the processes can share a global batch evenly."""
    if batch % accelerator.num_processes:
        raise MegastyleError(
            f"a batch of {batch:,} cannot be divided among {accelerator.num_processes} processes",
            hint="give a multiple of the number of processes as --global-batch",
        )


def check_stdin_not_shared(names: Sequence[str]) -> None:
    """Raises MegastyleError if several processes would read the same standard input."""
    if any(map(is_stream_input, names)) and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError(
            "standard input cannot be read by several processes", hint="give a file"
        )


def any_rank(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is set on any rank, so that all ranks do the same."""
    mine = torch.tensor([flag], device=accelerator.device)
    return bool(accelerator.gather(mine).any())
