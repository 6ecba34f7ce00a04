"""The MegaStyle model function: a stock FLUX transformer that sees a reference beside its target.

The reference's clean tokens follow the noisy target's in the sequence, and their columns continue
after the target's last, as if the reference lay to the right of the image. They share the target's
timestep; only the target's velocity is kept. Training and sampling both call `velocity`. Source:
the official shifted-position path.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.schedule import timestep_input

# b images, c latent channels (16), h w latent rows and columns (pixels / 8), n target tokens
# (h/2 * w/2), m reference tokens (n for each reference), t text tokens (512), d text width (4096)

Transformer = Any  # a diffusers FluxTransformer2DModel: diffusers has no types to check


def pack_latents(latents: Tensor) -> Tensor:
    """Latents (b, c, h, w) as tokens (b, n, 4c): each token is a patch of 2 x 2, row by row."""
    b, c, h, w = latents.shape
    patches = latents.reshape(b, c, h // 2, 2, w // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(b, (h // 2) * (w // 2), 4 * c)


def unpack_latents(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """Latents (b, c, h, w) of tokens (b, n, 4c) in `rows` x `columns`: undoes `pack_latents`."""
    b, _, width = tokens.shape
    patches = tokens.reshape(b, rows, columns, width // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(b, width // 4, 2 * rows, 2 * columns)


def position_ids(rows: int, columns: int, num_references: int) -> Tensor:
    """The position (0, row, column) of every target and reference token, (n + m, 3) float32.

    The columns of reference k (from 1) start at k * columns. The official model has one reference;
    further ones, each to the right of the one before, are ours.
    """
    grids = [
        torch.cartesian_prod(
            torch.zeros(1),
            torch.arange(rows, dtype=torch.float32),
            torch.arange(columns, dtype=torch.float32) + k * columns,
        )
        for k in range(num_references + 1)
    ]
    return torch.cat(grids)


def reference_bias(counts: Sequence[float], num_text: int, num_target: int) -> Tensor | None:
    """The bias of the attention scores that makes references count less, (1, 1, 1, t + n + m).

    A token of reference k counts as `counts[k]` tokens, above 0 and at most 1, in every softmax:
    exp(score + log count) = count * exp(score). None if each counts fully, which is the model as
    trained; as a count approaches 0, the result approaches the one without the reference. Ours.
    """
    if all(count == 1 for count in counts):
        return None
    others = torch.zeros(num_text + num_target)
    references = torch.tensor(counts, dtype=torch.float32).log().repeat_interleave(num_target)
    return torch.cat([others, references])[None, None, None]


def velocity(
    transformer: Transformer,
    target: Tensor,
    references: Tensor,
    prompt_embeds: PromptEmbeddings,
    sigmas: Tensor,
    ids: Tensor,
    *,
    guidance: float,
    bias: Tensor | None = None,
) -> Tensor:
    """The predicted velocity (noise - image) of the target tokens, (b, n, 4c).

    `target` (b, n, 4c) is noisy at `sigmas` (b,), `references` (b, m, 4c) are clean; m may be 0.
    `ids` are those of `position_ids`, `bias` that of `reference_bias`. `guidance` is unused where
    the transformer has no guidance embedding.
    """
    has_guidance = transformer.config.guidance_embeds
    predicted: Tensor = transformer(
        hidden_states=torch.cat([target, references], dim=1),  # (b, n + m, 4c)
        encoder_hidden_states=prompt_embeds.states,
        pooled_projections=prompt_embeds.pooled,
        timestep=timestep_input(sigmas, target.dtype),
        guidance=torch.full_like(sigmas, guidance) if has_guidance else None,
        img_ids=ids,
        txt_ids=ids.new_zeros(prompt_embeds.states.shape[1], 3),
        joint_attention_kwargs=None if bias is None else {"attention_mask": bias},
        return_dict=False,
    )[0]
    return predicted[:, : target.shape[1]]  # (b, n, 4c)
