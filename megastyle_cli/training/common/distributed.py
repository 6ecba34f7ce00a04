"""The processes of a training: those that a launcher started, found, counted and asked."""

import os
from collections.abc import Mapping

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from megastyle_cli.core.errors import MegastyleError


def start_accelerator(command: str) -> Accelerator:
    """The processes that accelerate or torchrun started, or this one alone.

    Raises MegastyleError if each process, or each node, believes it is alone: a CPU has to be asked
    for by name.
    """
    refuse_lonely_nodes(os.environ)
    # No model here has buffers that change.
    exchange = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(), mixed_precision="no", kwargs_handlers=[exchange]
    )
    expected = int(os.environ.get("WORLD_SIZE", 1))
    if accelerator.num_processes != expected:
        raise MegastyleError(
            f"{expected} processes were started and {accelerator.num_processes} found each other",
            hint=f"start with: accelerate launch -m megastyle_cli {command} ...",
        )
    return accelerator


def refuse_lonely_nodes(environ: Mapping[str, str]) -> None:
    """Raises MegastyleError if a launcher on each of several nodes joined only its own processes.

    Slurm says how many nodes share the step, torchrun (which accelerate starts) how many joined.
    """
    nodes, joined = environ.get("SLURM_STEP_NUM_NODES"), environ.get("GROUP_WORLD_SIZE")
    if nodes and joined and int(joined) < int(nodes):
        raise MegastyleError(
            f"the Slurm step has {nodes} nodes and this launcher joined {joined} of them",
            hint="give accelerate launch --num_machines and one --main_process_ip for all nodes",
        )


def refuse_uneven(batch: int, accelerator: Accelerator) -> None:
    """Raises MegastyleError unless the processes share a global batch evenly."""
    if batch % accelerator.num_processes:
        raise MegastyleError(
            f"a batch of {batch:,} cannot be shared by {accelerator.num_processes} processes",
            hint="give a --global-batch that they divide",
        )


def refuse_shared_stdin(names: list[str]) -> None:
    """Raises MegastyleError if several processes would read one standard input."""
    if "-" in names and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError("several processes cannot share standard input", hint="name a file")


def any_rank(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is up on any rank, so that all do the same."""
    mine = torch.tensor([flag], device=accelerator.device)
    return bool(accelerator.gather(mine).any())
