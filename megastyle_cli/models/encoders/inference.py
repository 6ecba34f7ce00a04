"""Runs an encoder over many inputs so that a row does not depend on the other inputs."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from megastyle_cli.core.errors import is_out_of_memory
from megastyle_cli.models.device import device_threads, enter_device

# n inputs, b of them in a batch, d width of the rows

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Input = TypeVar("Input")
Prepared = TypeVar("Prepared")

TOKENS = 2**17  # at once on a GPU: matrix products do not get faster with more
IMAGES = 256  # at most, for towers of few tokens: their pixels are in memory twice

log = logging.getLogger(__name__)


class BatchedEncoder:
    """Encodes inputs on a device, in batches of a size that it keeps in mind.

    On a CPU inputs are encoded one at a time, so that a row depends on its input alone, bit for
    bit; elsewhere batches agree up to rounding, and hold `tokens_per_input` in all TOKENS. The next
    batch is prepared while the device computes one, and rows are fetched at the end, so that the
    device does not wait. A batch that does not fit into memory is halved, and so are all that
    follow it.
    """

    def __init__(
        self, device: torch.device, width: int, *, tokens_per_input: int, size: int | None = None
    ) -> None:
        self.device, self.width = device, width
        fitting = max(1, min(IMAGES, TOKENS // tokens_per_input))
        self.size = size or (1 if device.type == "cpu" else fitting)

    @torch.inference_mode()
    def embed(
        self,
        inputs: Sequence[Input],
        prepare: Callable[[Sequence[Input]], Prepared],
        encode: Callable[[Prepared], Tensor],
    ) -> Array:
        """The rows (n, d) float32 of `inputs`.

        `prepare` makes the tensors of a batch on the CPU, from a thread of its own, and `encode`
        their rows (b, d) on the device.
        """
        if self.size == 1:
            rows = [encode(prepare([one])).float().cpu() for one in inputs]
        else:
            enter_device(self.device)  # the caller may be a thread, too
            rows = self._embed_ahead(inputs, prepare, encode)
        empty = torch.empty((0, self.width))
        joined: Array = torch.cat([empty, *(each.cpu() for each in rows)]).numpy()
        return joined

    def _embed_ahead(
        self,
        inputs: Sequence[Input],
        prepare: Callable[[Sequence[Input]], Prepared],
        encode: Callable[[Prepared], Tensor],
    ) -> list[Tensor]:
        rows: list[Tensor] = []
        done = 0
        with device_threads(1, self.device) as pool:
            ahead = pool.submit(prepare, inputs[: self.size])
            while done < len(inputs):
                size, prepared = self.size, ahead.result()
                ahead = pool.submit(prepare, inputs[done + size : done + 2 * size])
                encoded = self._encode(encode, prepared, min(size, len(inputs) - done))
                if encoded is None:
                    ahead = pool.submit(prepare, inputs[done : done + self.size])
                    continue
                rows.append(encoded)
                done += size
        return rows

    def _encode(
        self, encode: Callable[[Prepared], Tensor], prepared: Prepared, number: int
    ) -> Tensor | None:
        """The rows of a batch; None if there was no memory for them, and less is to be tried."""
        try:
            return encode(prepared).float()
        except (RuntimeError, MemoryError) as error:
            if number == 1 or not is_out_of_memory(error):
                raise
        # Outside of `except`: there the traceback would still hold the batch's tensors.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.size = -(-number // 2)
        log.warning("out of memory with %d inputs at once; continuing with %d", number, self.size)
        return None
