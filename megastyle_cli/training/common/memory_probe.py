"""What is free on a device, and whether a chunk really fits: tried before the first step."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory
from megastyle_cli.training.common.free_memory import free_memory

log = logging.getLogger(__name__)


def least_free_bytes(accelerator: Accelerator) -> int:
    """What is free on the fullest device of all ranks, so that they come to the same plan."""
    free = torch.tensor([free_bytes(accelerator.device)], device=accelerator.device)
    return int(accelerator.gather(free).min())


def free_bytes(device: torch.device) -> int:
    """Bytes that a process may still take on `device`; of a CPU's, its share among the ranks."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def chunk_that_fits(
    chunk: int,
    rehearse: Callable[[int], None],
    accelerator: Accelerator,
    noun: str = "pictures",
    hint: str = "give --recompute all, a smaller tower, or a device with more memory",
) -> int:
    """`chunk`, or the first of its halves that `rehearse` has memory for, on every rank the same.

    `chunk` is the same on all. A rank that ran out of memory amid a step would leave the others
    waiting for it, so each tries alone and all take the smallest. Raises MegastyleError (exit 1),
    with the hint, if one of `noun` is too many.
    """
    while True:
        found = torch.tensor([_tried(chunk, rehearse, noun, hint)], device=accelerator.device)
        smallest = int(accelerator.gather(found).min())
        if smallest == chunk:
            return chunk
        chunk = smallest


@contextmanager
def told_where_full(sentence: Callable[[], MegastyleError]) -> Iterator[None]:
    """Inside, a memory that is full is raised as that sentence."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise sentence() from error


def _tried(chunk: int, rehearse: Callable[[int], None], noun: str, hint: str) -> int:
    """The chunk if there is memory for it, else half of it."""
    try:
        rehearse(chunk)
        return chunk
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if chunk == 1:
            raise MegastyleError(
                f"there is no memory for a single one of the {noun}",
                hint=hint,
                exit_code=UNEXPECTED,
            ) from error
    finally:
        clear_device_cache(garbage_collection=True)
    half = -(-chunk // 2)
    log.warning("out of memory with %d %s at once; going on with %d", chunk, noun, half)
    return half
