"""Runs an encoder over many inputs so that a row does not depend on the other inputs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Input = TypeVar("Input")

BATCH = 32


def embed_in_batches(
    encode: Callable[[Sequence[Input]], Tensor],
    inputs: Sequence[Input],
    device: torch.device,
    width: int,
) -> Array:
    """The rows (n, width) float32 that `encode` returns for `inputs`, without gradients.

    On a CPU inputs are encoded one at a time, so that a row depends on its input alone, bit for
    bit; elsewhere batches agree up to rounding.
    """
    size = 1 if device.type == "cpu" else BATCH
    rows = [np.empty((0, width), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(inputs), size):
            rows.append(encode(inputs[start : start + size]).float().cpu().numpy())
    return np.concatenate(rows)
