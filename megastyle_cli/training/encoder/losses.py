"""The two terms of the style encoder's loss, each with its gradient in closed form.

Embeddings are gathered from all ranks before the loss, so the gradient with respect to them is all
a trainer needs: no graph is kept, and rows are worked off in blocks when the batch is large. Both
are computed in the embeddings' own precision, which must be float32 or wider: at temperature 0.02
a bfloat16 product is off by a tenth of the gradient, and a TF32 one by a hundredth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

# n pictures of the global batch, d width, p prompts
# Similarities held at once: 16 MiB of float32, which caches hold. All 8,192 x 8,192 of them at once
# take a core four times as long.
MOST_CELLS = 2**22


@dataclass(frozen=True)
class Term:
    """A loss, its gradient (n, d) with respect to the embeddings, and the anchors it left out."""

    loss: Tensor  # ()
    gradient: Tensor  # (n, d)
    share_left_out: float = 0.0


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, float32 products are float32's, whatever a launcher or another library chose."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@full_precision()
@torch.no_grad()
def style_contrast(
    z: Tensor, styles: Tensor, temperature: float, most_cells: int = MOST_CELLS
) -> Term:
    """The supervised contrastive loss of unit rows `z` (n, d) with labels `styles` (n,).

    L = mean over anchors i that have a positive of -1/|P(i)| sum_{p in P(i)} log softmax_i(p),
    where P(i) are the others of i's style and the softmax runs over all but i. An anchor without a
    positive still is a negative of others. Gradient:
    dL/dz_i = 1/(temperature m) [sum_j (p_ij - t_ij) z_j + sum_j (p_ji - t_ji) z_j].
    Source: Khosla et al. 2020, the form with the sum outside the logarithm.
    """
    n = len(z)
    loss, gradient = z.new_zeros(()), torch.zeros_like(z)
    counts = torch.unique(styles, return_inverse=True, return_counts=True)
    num_positives = counts[2][counts[1]] - 1  # (n,)
    has_positive = num_positives > 0
    num_anchors = int(has_positive.sum())
    if num_anchors == 0:
        return Term(loss, gradient, 1.0)
    for rows in _blocks(n, n, most_cells):
        own = torch.arange(rows.start, rows.stop, device=z.device)
        here = torch.arange(len(own), device=z.device)
        similar = z[rows] @ z.T / temperature  # (rows, n)
        similar[here, own] = -torch.inf
        log_p = similar - similar.logsumexp(1, keepdim=True)
        log_p[here, own] = 0.0  # -inf times a target of zero is not a number
        target = (styles[rows, None] == styles).to(z.dtype)
        target[here, own] = 0.0
        target /= num_positives[rows, None].clamp(min=1)
        loss -= (target * log_p).sum()
        pull = (log_p.exp() - target) * has_positive[rows, None]
        pull[here, own] = 0.0
        gradient[rows] += pull @ z
        gradient += pull.T @ z[rows]  # what each row does as another's column
    left_out = 1 - num_anchors / n
    return Term(loss / num_anchors, gradient / (temperature * num_anchors), left_out)


@full_precision()
@torch.no_grad()
def image_text(
    z: Tensor, prompts: Tensor, own: Tensor, scale: float, bias: float, most_cells: int = MOST_CELLS
) -> Term:
    """The sigmoid loss of unit rows `z` (n, d) against the batch's unique prompts (p, d).

    `own` (n,) is the row of each picture's prompt. L = -1/n sum_i sum_j log sigmoid(m_ij (scale
    <z_i, w_j> + bias)), m_ij = +1 for the own prompt and else -1. The columns are the p unique
    prompts, not one for each picture: repeating them would weigh this term K times as much.
    Source: Zhai et al. 2023; the sum over unique prompts is ours.
    """
    n = len(z)
    loss, gradient = z.new_zeros(()), torch.zeros_like(z)
    columns = torch.arange(len(prompts), device=z.device)
    for rows in _blocks(n, len(prompts), most_cells):
        sign = torch.where(own[rows, None] == columns, 1.0, -1.0).to(z.dtype)  # (rows, p)
        agreed = sign * (scale * (z[rows] @ prompts.T) + bias)
        loss -= functional.logsigmoid(agreed).sum()
        gradient[rows] = -scale * (sign * torch.sigmoid(-agreed)) @ prompts
    return Term(loss / n, gradient / n)


def _blocks(n: int, columns: int, most_cells: int) -> Iterator[slice]:
    size = max(1, most_cells // columns)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
