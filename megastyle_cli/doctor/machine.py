"""The machine and what is installed on it: cores, memory, GPU, packages, extras."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from megastyle_cli.core.check import Check
from megastyle_cli.core.extras import EXTRAS, is_installed, pip_install, pip_line
from megastyle_cli.io.picture_plugins import PACKAGES
from megastyle_cli.io.picture_plugins import is_installed as has_plugin
from megastyle_cli.models.host_memory import free_host_bytes
from megastyle_cli.training.common.memory_plan import GIB, format_bytes

MIN_FREE = 2 * GIB  # the builtin backends with torch loaded take about 1 GiB
USES = {
    "parquet": "read and write parquet files",
    "quantize": "--quantize int8, fp8 and nf4; --optimizer adamw8bit",
    "nsfw": "synth --nsfw open_nsfw",
    "minilm": "dedup and cluster with --model all-MiniLM-L6-v2",
    "ray": "dedup and cluster with --engine ray",
}
SHOWN = ("torch", "transformers", "diffusers", "onnxruntime", "numba", "faiss-cpu", "accelerate")


def check_machine() -> Iterator[Check]:
    """Cores, memory and GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(topic="Machine", name="cores", text=f"{cores}")
    free = free_host_bytes()
    yield Check(
        topic="Machine",
        name="memory",
        text=f"{format_bytes(free)} free",
        ok=free >= MIN_FREE,
        is_needed=False,
        fix="" if free >= MIN_FREE else f"{format_bytes(MIN_FREE)} or more is comfortable",
    )
    yield _check_gpu()


def check_packages() -> Iterator[Check]:
    """Python, the packages that are always installed, and the extras."""
    python = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.prefix}"
    yield Check(topic="Packages", name="Python", text=python)
    missing = [str(wanted) for wanted in _requirements() if not _is_met(wanted)]
    text = ", ".join(f"{name} {found}" for name in SHOWN if (found := _version(name)))
    if missing:
        quoted = " ".join(f"'{name}'" for name in missing)
        text = f"{len(missing)} not installed, or of another version"
        yield Check(
            topic="Packages", name="installed", text=text, ok=False, fix=f"{pip_install()} {quoted}"
        )
    else:
        yield Check(topic="Packages", name="installed", text=text)
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if not is_installed(module)]
        yield _optional(extra, USES[extra], pip_line(absent[0]) if absent else "")
    for package in dict.fromkeys(PACKAGES.values()):
        suffixes = " ".join(suffix for suffix, name in PACKAGES.items() if name == package)
        line = "" if has_plugin(package) else pip_line(package)
        yield _optional(package, f"read {suffixes} images", line)


def _optional(name: str, use: str, line: str) -> Check:
    return Check(topic="Extras", name=name, text=use, ok=not line, is_needed=False, fix=line)


def _check_gpu() -> Check:
    import torch

    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        total = sum(torch.cuda.mem_get_info(i)[1] for i in range(len(names)))
        text = f"{', '.join(names)}; {format_bytes(total)}, CUDA {torch.version.cuda}{_driver()}"
        return Check(topic="Machine", name="GPU", text=text)
    if torch.backends.mps.is_available():
        return Check(topic="Machine", name="GPU", text="Apple GPU; megastyle runs on the CPU here")
    if devices and torch.version.cuda is None:
        text = f"{', '.join(devices)} is not used: torch {torch.__version__} is a build for the CPU"
        fix = "install the build for its driver (docs/install.md)"
    elif devices:
        text = f"{', '.join(devices)} is not used: torch {torch.__version__} finds no driver for it"
        fix = "check nvidia-smi"
    else:
        text, fix = "none; models run on the CPU", ""
    return Check(topic="Machine", name="GPU", text=text, ok=False, is_needed=False, fix=fix)


def _driver() -> str:
    """The version of NVIDIA's driver, if its own tool reports it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    lines = subprocess.run(asked, capture_output=True, text=True).stdout.splitlines()
    return f", driver {lines[0]}" if lines else ""


def _requirements() -> Iterator[Requirement]:
    """What the installed project needs without extras."""
    try:
        lines = requires("megastyle") or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        lines = []
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _is_met(requirement: Requirement) -> bool:
    found = _version(requirement.name)
    return bool(found) and requirement.specifier.contains(found, prereleases=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
