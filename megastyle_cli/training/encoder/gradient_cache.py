"""One gradient of the whole global batch, however small the chunks that fit in memory.

Embed everything without a graph, gather the embeddings of all ranks, take the full loss's gradient
with respect to them, and embed again in chunks to carry it into the weights. Exact, not an
approximation: the tests hold it to the direct gradient at 1e-12.
Source: GradCache (Gao et al. 2021); the loss on every rank's copy of all embeddings is ours.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from accelerate import Accelerator
from torch import Tensor, nn

# n pictures of the global batch, b of them on this rank, d width
Pixels = Callable[[int, int], Tensor]  # rows start to stop of this rank's pictures, made ready
Objective = Callable[[Tensor, Tensor], Tensor]  # embeddings, labels (n,) -> gradient (n, d)


def backward_of_batch(
    tower: nn.Module,
    pixels: Pixels,
    labels: Tensor,
    objective: Objective,
    accelerator: Accelerator,
    chunk: int,
) -> None:
    """Adds the gradient of the global batch's loss to the parameters of `tower`.

    `labels` (b,) are of this rank's pictures, which `pixels` gives; b is the same on every rank,
    and rank r holds rows r b to (r + 1) b of the global batch. `objective` must give the same on
    every rank. A rank's pictures that fit in one `chunk` are embedded once, with their graph.
    """
    b = len(labels)
    is_single_pass = b <= chunk
    starts = range(0, b, chunk)
    with nullcontext() if is_single_pass else torch.no_grad():
        z = torch.cat([tower(pixels(start, min(start + chunk, b))) for start in starts])  # (b, d)
    gathered = _of_all_ranks(z.detach(), accelerator)  # (n, d)
    gradient = objective(gathered, _of_all_ranks(labels, accelerator))
    mine = slice(accelerator.process_index * b, (accelerator.process_index + 1) * b)
    # DDP takes the mean over ranks of what is a sum of each rank's share.
    g = gradient[mine] * accelerator.num_processes
    if is_single_pass:
        z.backward(g)  # type: ignore[no-untyped-call]
        return
    for start in starts:
        stop = min(start + chunk, b)
        is_last = stop == b
        with nullcontext() if is_last else accelerator.no_sync(tower):
            tower(pixels(start, stop)).backward(g[start:stop])


def _of_all_ranks(rows: Tensor, accelerator: Accelerator) -> Tensor:
    gathered: Tensor = accelerator.gather(rows)
    return gathered
