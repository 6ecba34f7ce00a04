"""Memory probe: how much memory is free on a device, and whether a micro-batch really fits.

A job's own limit counts, too: Slurm (--mem) and containers limit a job by a control group, which
the machine's free memory does not show, and a plan beyond that limit is killed. Source: the
kernel's cgroup-v1 and cgroup-v2 documents.
"""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils.memory import clear_device_cache

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError, is_out_of_memory

log = logging.getLogger(__name__)

MEMINFO = Path("proc/meminfo")  # Linux
OWN_GROUPS = Path("proc/self/cgroup")
MOUNT = Path("sys/fs/cgroup")


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


def free_host_bytes(root: Path = Path("/")) -> int:
    """Free memory of the machine, within every control group limit of this process, in bytes."""
    return max(0, min([_free_on_machine(root), *_free_in_groups(root)]))


def _free_on_machine(root: Path) -> int:
    meminfo = root / MEMINFO
    if meminfo.exists():
        values = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(values["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_groups(root: Path) -> Iterator[int]:
    """The bytes left in each control group of this process that has a limit."""
    for folder, limit_name, used_name, cache_key in _groups(root):
        try:
            limit = (folder / limit_name).read_text().strip()
            used = int((folder / used_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # a group we may not read, or the root, which has no limit
        if limit.isdecimal():  # version 2 writes "max" where there is none
            # cached pages of files count as used, and are given up when memory is needed
            yield int(limit) - used + int(stat.get(cache_key, 0))


def _groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Each group of this process, innermost first: its folder and the names of the files in it."""
    own = root / OWN_GROUPS
    if not own.exists():
        return
    for line in own.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount = root / MOUNT
            names = ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / MOUNT / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = mount / group.lstrip("/")
        for parent in (folder, *folder.parents):
            yield parent, *names
            if parent == mount:
                break
