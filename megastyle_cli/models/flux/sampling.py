"""Denoising with FLUX: Euler steps from noise to image tokens."""

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor

from megastyle_cli.models.flux.model import Transformer, velocity
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings

# b images, c latent channels (16), n target tokens, m reference tokens

INFERENCE_GUIDANCE = 3.5  # the official model was trained with 1.0


def denoise(
    transformer: Transformer,
    noisy: Tensor,
    references: Tensor,
    prompt_embeds: PromptEmbeddings,
    sigmas: Tensor,
    ids: Tensor,
    *,
    guidance: float = INFERENCE_GUIDANCE,
    bias: Tensor | None = None,
    modulation: PrecomputedModulation | None = None,
) -> Tensor:
    """Target tokens (b, n, 4c) taken from noise level sigmas[0] down to sigmas[-1] by Euler steps.

    Between steps they keep the dtype of `noisy`, as in the official code. `references` (b, m, 4c),
    `ids` and `bias` are those of `velocity`. `modulation` is the one taken out of `transformer`, if
    any, computed for `sigmas[:-1]`.
    """
    tokens = noisy
    for step, (sigma, next_sigma) in enumerate(pairwise(sigmas.tolist())):
        if modulation is not None:
            modulation.use_step(step)
        levels = torch.full((len(tokens),), sigma, device=tokens.device)
        with _cache_context(transformer):
            flow = velocity(
                *(transformer, tokens, references, prompt_embeds, levels, ids),
                guidance=guidance,
                bias=bias,
            )  # (b, n, 4c)
        tokens = tokens + flow * (next_sigma - sigma)
    return tokens


def _cache_context(transformer: Transformer) -> AbstractContextManager[None]:
    """The context that diffusers' step cache requires around a call, if it is enabled."""
    context: AbstractContextManager[None] = nullcontext()
    if transformer.is_cache_enabled:
        context = transformer.cache_context("cond")
    return context
