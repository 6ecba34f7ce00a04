"""The device, its facts, and the timing and peak memory of a piece of work."""

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

GIB = 2**30
PACKAGES = ("torch", "transformers", "diffusers", "accelerate", "numpy")

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if HAS_GPU else torch.device("cpu")
DTYPE = torch.bfloat16 if HAS_GPU else torch.float32

Row = dict[str, Any]


def facts() -> str:
    """The date, the machine and the versions, in one line."""
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    machine = f"no GPU, {os.cpu_count()} cores"
    if HAS_GPU:
        properties = torch.cuda.get_device_properties(0)
        memory = f"{properties.total_memory / GIB:.0f} GiB"
        machine = f"{properties.name} ({memory}), CUDA {torch.version.cuda}, {os.cpu_count()} cores"
    return f"{time.strftime('%Y-%m-%d')}, {', '.join(versions)}; {machine}."


def begin() -> None:
    """Frees what earlier rows have left, and starts counting the peak memory again."""
    gc.collect()
    if HAS_GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def median_s(work: Callable[[], Any], times: int, warm_up: int = 1) -> float:
    """The median of `times` runs in seconds, after `warm_up` runs."""
    took = []
    for _ in range(warm_up + times):
        _wait()
        started = time.perf_counter()
        work()
        _wait()
        took.append(time.perf_counter() - started)
    return statistics.median(took[warm_up:])


def peak_bytes() -> int | None:
    """The largest memory that was allocated on the GPU since `begin`; None without a GPU."""
    return torch.cuda.max_memory_allocated() if HAS_GPU else None


def peak() -> Row:
    """The peak memory as a column."""
    size = peak_bytes()
    return {"peak GiB": "" if size is None else round(size / GIB, 1)}


def measured(row: Row, work: Callable[[], Row]) -> Row:
    """`row` with the columns of `work`; or with the reason if it fails, so that others go on."""
    begin()
    try:
        return row | work()
    except (RuntimeError, MemoryError, ImportError) as error:
        reason = "out of memory" if "out of memory" in str(error) else str(error).split("\n")[0]
        return row | {"failed": reason[:100]}
    finally:
        begin()


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table; a column for each key."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(keys) + " |", "| --- " * len(keys) + "|"]
    for row in rows:
        cells = [row.get(key, "") for key in keys]
        shown = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _wait() -> None:
    if HAS_GPU:
        torch.cuda.synchronize()
