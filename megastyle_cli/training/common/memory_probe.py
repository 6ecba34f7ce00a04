"""Memory probe: how much memory is free on a device, and whether a micro-batch really fits."""

import logging
import os
from collections.abc import Callable

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory
from megastyle_cli.models.host_memory import free_host_bytes

log = logging.getLogger(__name__)


def fit_micro_batch(
    size: int,
    probe: Callable[[int], None],
    accelerator: Accelerator,
    noun: str,
    hint: str,
) -> int:
    """`size`, or the first of its halves that `probe` has memory for, the same on every rank.

    `size` is the same on all ranks. A rank that ran out of memory during a step would leave the
    others waiting for it, so each tries on its own and all take the smallest result. Raises
    MegastyleError (exit 1), with the hint, if a single one of `noun` is too many.
    """
    while True:
        fitting = torch.tensor([_try_size(size, probe, noun, hint)], device=accelerator.device)
        smallest = int(accelerator.gather(fitting).min())
        if smallest == size:
            return size
        size = smallest


def _try_size(size: int, probe: Callable[[int], None], noun: str, hint: str) -> int:
    """`size` if there is memory for it, otherwise half of it."""
    try:
        probe(size)
        return size
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if size == 1:
            raise MegastyleError(
                f"out of memory: not even one of the {noun} fits",
                hint=hint,
                exit_code=UNEXPECTED,
            ) from error
    finally:
        clear_device_cache(garbage_collection=True)
    half = -(-size // 2)
    log.warning("out of memory with %d %s at once; trying %d", size, noun, half)
    return half


def least_free_bytes(accelerator: Accelerator) -> int:
    """The free bytes on the fullest device of all ranks, so that all make the same plan.

    Measured after the ranks have met: contexts and communication buffers are taken by then.
    """
    accelerator.wait_for_everyone()
    free = torch.tensor([free_bytes(accelerator.device)], device=accelerator.device)
    return int(accelerator.gather(free).min())


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still allocate on `device`; on a CPU, its share among ranks."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_host_bytes() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
