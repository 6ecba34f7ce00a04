"""Where a model runs and in which numbers: names from the command line to torch."""

import os
import shutil

import torch

from megastyle_cli.core.errors import MegastyleError


def chosen_device(name: str | None) -> torch.device:
    """The device of that name, such as cuda:1; without one the GPU if there is one, else the CPU.

    Under accelerate or torchrun each rank has its own GPU. Raises MegastyleError if torch does not
    know the device or it is not there.
    """
    try:
        device = torch.device(name or _default_device())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as fault:
        reason = str(fault).partition("\n")[0]
        raise MegastyleError(
            f"device {name!r} cannot be used: {reason}", hint="give cpu, cuda or cuda:N"
        ) from fault
    return device


def _default_device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    rank = os.environ.get("LOCAL_RANK")
    return "cuda" if rank is None else f"cuda:{rank}"


def chosen_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """The dtype of that name; without one bfloat16 on a GPU and float32 on the CPU."""
    dtype: torch.dtype = getattr(torch, name or ("float32" if device.type == "cpu" else "bfloat16"))
    return dtype


def refuse_no_compiler(device: torch.device) -> None:
    """Raises MegastyleError if torch.compile would find no compiler for code that runs there."""
    known = {"cpu": ("CXX", "g++"), "cuda": ("CC", "gcc", "clang")}
    variable, *names = known.get(device.type, known["cpu"])
    told = os.environ.get(variable)
    if not any(shutil.which(name) for name in ([told] if told else names)):
        raise MegastyleError(
            f"--compile needs a compiler, and there is no {told or ' or '.join(names)} here",
            hint="apt install g++ (or the like), or leave --compile out",
        )
