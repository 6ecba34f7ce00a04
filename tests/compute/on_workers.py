"""What the tests of Ray run on its workers, which import this file alone: not pytest, for one."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megastyle_cli import NO_TELEMETRY
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.limits import max_item_bytes

Array = npt.NDArray[np.float32]


def scaled(item: int, factor: int = 1) -> int:
    return item * factor


def only_even(item: int) -> int:
    if item % 2:
        raise MegastyleError(f"{item} is odd", hint="give even ones")
    return item


def product(block: Array, other: Array) -> bytes:
    return (block @ other).tobytes()


def node_of(item: int) -> str:
    import ray

    time.sleep(0.05)  # as block work does: short calls all go to a worker that is free again
    return str(ray.get_runtime_context().get_node_id())


def is_same_memory(item: int, shared: Array) -> int:
    return int(shared.ctypes.data)


def dies_once(item: int, folder: str) -> int:
    """Kills its own process, as a node's out-of-memory killer would, the first time it gets 5."""
    mark = Path(folder, "died")
    if item == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def dies(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def setting_of_worker(item: int) -> tuple[int, dict[str, str | None]]:
    return max_item_bytes(), {name: os.environ.get(name) for name in NO_TELEMETRY}


def import_missing_module(item: int) -> int:
    import no_such_module

    return int(no_such_module.number)
