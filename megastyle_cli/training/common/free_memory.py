"""Bytes that a process may still take of a machine's memory, inside the limit its job was given.

Slurm (--mem) and containers limit a job by a control group; the machine's own figure knows nothing
of it, and a plan that follows that figure is killed. Source: the kernel's cgroup-v1 and cgroup-v2
documents.
"""

import os
from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("proc/meminfo")  # Linux
OWN_GROUPS = Path("proc/self/cgroup")
MOUNT = Path("sys/fs/cgroup")


def free_memory(root: Path = Path("/")) -> int:
    """What is free on the machine and within every limit above this process, in bytes."""
    return max(0, min([_free_on_the_machine(root), *_free_in_groups(root)]))


def _free_on_the_machine(root: Path) -> int:
    meminfo = root / MEMINFO
    if meminfo.exists():
        facts = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(facts["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_groups(root: Path) -> Iterator[int]:
    """For each control group around this process that has a limit: what is left below it."""
    for folder, limit_name, used_name, cache_key in _groups(root):
        try:
            limit = (folder / limit_name).read_text().strip()
            used = int((folder / used_name).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # a group that is not ours to read, or the root, which has no limit
        if limit.isdecimal():  # version 2 says "max" where there is none
            # pages of files that were read count as used, and are given up when memory is wanted
            yield int(limit) - used + int(stat.get(cache_key, 0))


def _groups(root: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Each group around us, innermost first: its folder and the names of what stands in it."""
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
        for around in (folder, *folder.parents):
            yield around, *names
            if around == mount:
                break
