"""Exact gradient of a loss over the whole global batch, computed in micro-batches.

Embed all images without a graph, gather the embeddings of all ranks, compute the gradient of the
full loss with respect to them, then embed again in micro-batches to propagate it to the weights.
This is exact, not an approximation: tests compare it with the direct gradient at 1e-12.
Source: GradCache (Gao et al. 2021); computing the loss on every rank from all embeddings is ours.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

# n images of the global batch, b of them on this rank, d width
Loss = Callable[[Tensor, Tensor], Tensor]  # embeddings (n, d), labels (n,) -> gradient (n, d)


class Images(Protocol):
    """Images of this rank, ready for the encoder: a tensor, or a class that augments on access."""

    def __getitem__(self, rows: slice) -> Tensor:
        """float32 (rows, 3, side, side), the same each time."""


def backward(
    tower: nn.Module,
    images: Images,
    labels: Tensor,
    loss: Loss,
    accelerator: Accelerator,
    micro_batch: int,
) -> None:
    """Adds the gradient of the global batch's loss to the parameters of `tower`.

    `labels` (b,) belong to this rank's `images`; b is the same on every rank, and rank r holds rows
    r b to (r + 1) b of the global batch. `loss` must return the same gradient on every rank. If the
    images of a rank fit in one `micro_batch`, they are embedded once, with their graph.
    """
    b = len(labels)
    is_single_pass = b <= micro_batch
    parts = [slice(start, min(start + micro_batch, b)) for start in range(0, b, micro_batch)]
    with nullcontext() if is_single_pass else torch.no_grad():
        z = torch.cat([tower(images[rows]) for rows in parts])  # (b, d)
    gradient = loss(_gather(z.detach(), accelerator), _gather(labels, accelerator))  # (n, d)
    mine = slice(accelerator.process_index * b, (accelerator.process_index + 1) * b)
    # DDP averages over ranks, but the gradient is the sum of the ranks' shares.
    g = gradient[mine] * accelerator.num_processes
    if is_single_pass:
        z.backward(g)  # type: ignore[no-untyped-call]
        return
    for rows in parts:
        with nullcontext() if rows.stop == b else accelerator.no_sync(tower):
            tower(images[rows]).backward(g[rows])


def _gather(rows: Tensor, accelerator: Accelerator) -> Tensor:
    gathered: Tensor = accelerator.gather(rows)
    return gathered
