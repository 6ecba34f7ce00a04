"""A job's own limit counts as free memory, not only the machine's."""

from pathlib import Path

import pytest

from megastyle_cli.models.host_memory import free_host_bytes

GIB = 2**30


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The files of a machine with 100 GiB free and no control groups."""
    write(tmp_path / "proc/meminfo", f"MemTotal: 1 kB\nMemAvailable:  {100 * 2**20} kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_group_v2(folder: Path, limit: str, used: int, cache: int = 0) -> None:
    write(folder / "memory.max", f"{limit}\n")
    write(folder / "memory.current", f"{used}\n")
    write(folder / "memory.stat", f"anon 5\ninactive_file {cache}\n")


def test_without_groups_the_machine_decides(machine):
    assert free_host_bytes(machine) == 100 * GIB


def test_the_limit_of_a_parent_group_counts(machine):
    write(machine / "proc/self/cgroup", "0::/slurm/job_7/step_0\n")
    groups = machine / "sys/fs/cgroup/slurm"
    write_group_v2(groups / "job_7/step_0", "max", 3 * GIB)
    write_group_v2(groups / "job_7", str(16 * GIB), 4 * GIB)

    assert free_host_bytes(machine) == 12 * GIB


def test_cached_files_do_not_count_as_used(machine):
    write(machine / "proc/self/cgroup", "0::/job\n")
    write_group_v2(machine / "sys/fs/cgroup/job", str(16 * GIB), 15 * GIB, cache=10 * GIB)

    assert free_host_bytes(machine) == 11 * GIB


def test_control_groups_of_version_1_are_read(machine):
    write(machine / "proc/self/cgroup", "5:cpu,cpuacct:/\n4:memory:/slurm/job_7\n0::/\n")
    job = machine / "sys/fs/cgroup/memory/slurm/job_7"
    write(job / "memory.limit_in_bytes", f"{8 * GIB}\n")
    write(job / "memory.usage_in_bytes", f"{2 * GIB}\n")
    write(job / "memory.stat", f"inactive_file 7\ntotal_inactive_file {GIB}\n")

    assert free_host_bytes(machine) == 7 * GIB


def test_a_full_group_leaves_nothing(machine):
    write(machine / "proc/self/cgroup", "0::/job\n")
    write_group_v2(machine / "sys/fs/cgroup/job", str(GIB), GIB + 4096)

    assert free_host_bytes(machine) == 0


def test_this_machine_has_free_memory():
    assert free_host_bytes() > 2**26
