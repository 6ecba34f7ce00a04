"""Loss of the style encoder: supervised contrast plus a sigmoid image-text term, in closed form.

Embeddings are gathered from all ranks before the loss, so a trainer only needs the gradient with
respect to them: no autograd graph is kept, and large batches are processed in blocks of rows. Both
terms are computed in the dtype of the embeddings, which must be float32 or wider: at temperature
0.02 a bfloat16 product is off by a tenth of the gradient, and a TF32 product by a hundredth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from megastyle_cli.training.encoder.prompt_targets import PromptTargets

# n images of the global batch, p unique prompts, d width

# Similarities computed at once: 16 MiB of float32, which fits in a CPU cache. All 8,192 x 8,192 of
# them at once take a core four times as long.
MAX_SIMILARITIES = 2**22


class EncoderLoss:
    """L = style contrast + `text_weight` x image-text term, for the prompts in `targets`.

    Calling it returns the gradient with respect to the embeddings and stores the value of each term
    in `values`. The prompts are encoded once and looked up by style, so ranks exchange only style
    numbers. Styles with the same prompt share one column, so that no image is pushed away from the
    prompt it is pulled towards. Source: the two terms and their equal weight are the paper's.
    """

    def __init__(
        self,
        temperature: float,
        text_weight: float,
        targets: PromptTargets | None,
        device: torch.device,
    ) -> None:
        self.temperature, self.text_weight, self.targets = temperature, text_weight, targets
        self.prompts = torch.from_numpy(targets.vectors).to(device) if targets else None  # (p, d)
        self.prompt_of = torch.from_numpy(targets.rows).to(device) if targets else None  # (styles,)
        self.values: dict[str, float] = {}

    def __call__(self, z: Tensor, styles: Tensor) -> Tensor:
        """The gradient (n, d) of the loss of unit rows `z` (n, d) with labels `styles` (n,)."""
        contrast = supervised_contrastive(z, styles, self.temperature)
        text = self._image_text(z, styles)
        self.values = {"loss": float(contrast.loss), "style_loss": float(contrast.loss)}
        gradient = contrast.gradient
        if text is not None:
            self.values["loss"] += self.text_weight * float(text.loss)
            self.values["text_loss"] = float(text.loss)
            gradient = gradient + self.text_weight * text.gradient
        self.values["without_positive"] = contrast.share_without_positive
        return gradient

    def _image_text(self, z: Tensor, styles: Tensor) -> "LossTerm | None":
        if self.targets is None or self.prompts is None or self.prompt_of is None:
            return None
        unique, own = torch.unique(self.prompt_of[styles], return_inverse=True)
        scale, bias = self.targets.scale, self.targets.bias
        return image_text_sigmoid(z, self.prompts[unique], own, scale, bias)


@dataclass(frozen=True)
class LossTerm:
    """A loss, its gradient with respect to the embeddings, and the share of anchors left out."""

    loss: Tensor  # ()
    gradient: Tensor  # (n, d)
    share_without_positive: float = 0.0


@contextmanager
def full_precision() -> Iterator[None]:
    """Computes float32 matrix products in float32, whatever a launcher or library has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@full_precision()
@torch.no_grad()
def supervised_contrastive(
    z: Tensor, styles: Tensor, temperature: float, max_similarities: int = MAX_SIMILARITIES
) -> LossTerm:
    """The supervised contrastive loss of unit rows `z` (n, d) with labels `styles` (n,).

    L = mean over anchors i that have a positive of -1/|P(i)| sum_{p in P(i)} log softmax_i(p),
    where P(i) are the other images of i's style and the softmax runs over all images but i. An
    anchor without a positive still serves as a negative. Gradient:
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
        return LossTerm(loss, gradient, 1.0)
    for rows in _blocks(n, n, max_similarities):
        own = torch.arange(rows.start, rows.stop, device=z.device)
        here = torch.arange(len(own), device=z.device)
        similar = z[rows] @ z.T / temperature  # (rows, n)
        similar[here, own] = -torch.inf
        log_p = similar - similar.logsumexp(1, keepdim=True)
        log_p[here, own] = 0.0  # -inf times a target of zero is NaN
        target = (styles[rows, None] == styles).to(z.dtype)
        target[here, own] = 0.0
        target /= num_positives[rows, None].clamp(min=1)
        loss -= (target * log_p).sum()
        pull = (log_p.exp() - target) * has_positive[rows, None]
        pull[here, own] = 0.0
        gradient[rows] += pull @ z
        gradient += pull.T @ z[rows]  # each row's effect as a column of other anchors
    left_out = 1 - num_anchors / n
    return LossTerm(loss / num_anchors, gradient / (temperature * num_anchors), left_out)


@full_precision()
@torch.no_grad()
def image_text_sigmoid(
    z: Tensor,
    prompts: Tensor,
    own: Tensor,
    scale: float,
    bias: float,
    max_similarities: int = MAX_SIMILARITIES,
) -> LossTerm:
    """The sigmoid loss of unit rows `z` (n, d) against the batch's unique prompts (p, d).

    `own` (n,) is the row of each image's prompt. L = -1/n sum_i sum_j log sigmoid(m_ij (scale
    <z_i, w_j> + bias)), m_ij = +1 for the image's own prompt and -1 otherwise. There is one column
    per unique prompt, not one per image: repeating them would weigh this term K times as much.
    Source: Zhai et al. 2023; the sum over unique prompts is ours.
    """
    n = len(z)
    loss, gradient = z.new_zeros(()), torch.zeros_like(z)
    columns = torch.arange(len(prompts), device=z.device)
    for rows in _blocks(n, len(prompts), max_similarities):
        sign = torch.where(own[rows, None] == columns, 1.0, -1.0).to(z.dtype)  # (rows, p)
        logits = sign * (scale * (z[rows] @ prompts.T) + bias)
        loss -= functional.logsigmoid(logits).sum()
        gradient[rows] = -scale * (sign * torch.sigmoid(-logits)) @ prompts
    return LossTerm(loss / n, gradient / n)


def _blocks(n: int, columns: int, max_similarities: int) -> Iterator[slice]:
    """Slices of at most `max_similarities` / `columns` rows that cover `n` rows."""
    size = max(1, max_similarities // columns)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
