"""Free memory of the machine, within the limits of this job.

Slurm (--mem) and containers limit a job by a control group, which the machine's free memory does
not show, and a plan beyond that limit is killed. Source: the kernel's cgroup-v1 and cgroup-v2
documents.
"""

import os
from collections.abc import Iterator
from pathlib import Path

MEMINFO = Path("proc/meminfo")  # Linux
OWN_GROUPS = Path("proc/self/cgroup")
MOUNT = Path("sys/fs/cgroup")


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
