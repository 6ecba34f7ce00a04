"""Tensors to a .safetensors file as any file is written: the umask's mode, the system's faults."""

import os
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

SYSTEM_FAULT = re.compile(r"os error (\d+)")


def write_tensors(
    weights: dict[str, Tensor], path: Path, facts: dict[str, str] | None = None
) -> None:
    """Writes `weights` to `path`, with `facts` in its header.

    Raises OSError where the file cannot be written: safetensors has an error of its own for that.
    """
    try:
        save_file(weights, path, metadata=facts)
    except SafetensorError as fault:
        told = SYSTEM_FAULT.search(str(fault))
        if told is None:
            raise
        number = int(told[1])
        raise OSError(number, os.strerror(number), str(path)) from fault
    open_up(path)


def open_up(path: Path) -> None:
    """Gives a file the mode of any new file beside it: safetensors leaves 0600."""
    new = path.with_name(f".{path.name}.new")
    new.touch()
    try:
        path.chmod(new.stat().st_mode)
    finally:
        new.unlink()
