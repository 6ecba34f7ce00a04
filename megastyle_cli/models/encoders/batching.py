"""Many inputs through a tower, so that a row does not depend on its neighbours."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Input = TypeVar("Input")

BATCH = 32


def rows_of(
    tower: Callable[[Sequence[Input]], Tensor],
    inputs: Sequence[Input],
    device: torch.device,
    width: int,
) -> Array:
    """The rows (n, width) float32 that `tower` gives for `inputs`, without gradient.

    On a CPU inputs go one at a time, so that a row depends on its input alone, bit for bit;
    elsewhere batches agree up to rounding.
    """
    size = 1 if device.type == "cpu" else BATCH
    rows = [np.empty((0, width), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(inputs), size):
            rows.append(tower(inputs[start : start + size]).float().cpu().numpy())
    return np.concatenate(rows)
