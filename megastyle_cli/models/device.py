"""The device and floating-point type of a model, from names on the command line."""

import logging
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

from megastyle_cli.core.errors import MegastyleError, first_line

log = logging.getLogger(__name__)


def resolve_device(name: str | None) -> torch.device:
    """The device of that name, such as cuda:1; by default the GPU if there is one, else the CPU.

    Under accelerate or torchrun each rank has its own GPU. Raises MegastyleError if torch does not
    know the device or the machine does not have it.
    """
    try:
        device = torch.device(name or _default_device())
        torch.empty(1, device=device)
        enter_device(device)
    except (RuntimeError, AssertionError) as error:
        raise MegastyleError(
            f"device {name!r} cannot be used: {first_line(error)}", hint="give cpu, cuda or cuda:N"
        ) from error
    return device


def enter_device(device: torch.device) -> None:
    """Makes `device` the current GPU of the calling thread.

    A new thread starts on GPU 0, where leaving a stream, or a kernel without a device, creates a
    CUDA context of about half a gigabyte: one for each process of a node.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def device_threads(number: int, device: torch.device) -> ThreadPoolExecutor:
    """A pool of threads whose current GPU is `device`."""
    return ThreadPoolExecutor(number, initializer=enter_device, initargs=(device,))


def _default_device() -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        has_gpu = torch.cuda.is_available()
    if not has_gpu:
        for warning in caught:  # such as a driver that is older than torch needs
            reason = str(warning.message).removeprefix("CUDA initialization: ")
            log.warning("no GPU is used: %s", reason.partition(". ")[0].partition("\n")[0])
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return "cuda" if rank is None else f"cuda:{rank}"


def resolve_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of that name; by default bfloat16 on a GPU and float32 on the CPU."""
    dtype: torch.dtype = getattr(torch, name or ("float32" if device.type == "cpu" else "bfloat16"))
    if dtype == torch.bfloat16 and device.type == "cuda":
        _warn_without_bfloat16(device)
    return dtype


def resolve_encoder_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Like `resolve_dtype`, but by default float32 on a GPU that has no bfloat16 of its own."""
    if name is None and device.type == "cuda" and torch.cuda.is_available():
        has_bfloat16 = torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return resolve_dtype(name, device)


@cache
def _warn_without_bfloat16(device: torch.device) -> None:
    """Logs, once per device, that a GPU before Ampere emulates bfloat16."""
    if torch.cuda.is_available() and torch.cuda.get_device_capability(device) < (8, 0):
        log.warning(
            "%s (%s) has no bfloat16 of its own and emulates it slowly: give --dtype float32 where"
            " it fits",
            *(device, torch.cuda.get_device_name(device)),
        )


def require_compiler(device: torch.device) -> None:
    """Raises MegastyleError if there is no compiler that torch.compile needs on that device."""
    known = {"cpu": ("CXX", "g++"), "cuda": ("CC", "gcc", "clang")}
    variable, *names = known.get(device.type, known["cpu"])
    configured = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([configured] if configured else names)):
        raise MegastyleError(
            "--compile needs a C++ compiler, but there is no"
            f" {configured or ' or '.join(names)} here",
            hint="install g++ (or clang++), or omit --compile",
        )
