"""Denoising with FLUX: Euler steps from noise to image tokens."""

from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise

import torch
from torch import Tensor

from megastyle_cli.models.flux.model import Transformer, velocity
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings

# b pictures, c latent channels (16), n target tokens, m reference tokens

INFERENCE_GUIDANCE = 3.5  # the official model was trained with 1.0


def denoise(
    transformer: Transformer,
    noisy: Tensor,
    references: Tensor,
    words: PromptEmbeddings,
    levels: Tensor,
    ids: Tensor,
    *,
    guidance: float = INFERENCE_GUIDANCE,
    bias: Tensor | None = None,
    modulation: PrecomputedModulation | None = None,
) -> Tensor:
    """Target tokens (b, n, 4c) taken from noise level levels[0] down to levels[-1], by Euler steps.

    Between steps they keep the dtype of `noisy`, as in the official code. `modulation` is the one
    taken out of `transformer`, if any, computed for `levels[:-1]`.
    """
    tokens = noisy
    for step, (level, next_level) in enumerate(pairwise(levels.tolist())):
        if modulation is not None:
            modulation.use_step(step)
        sigmas = torch.full((len(tokens),), level, device=tokens.device)
        with _cache(transformer):
            flow = velocity(
                transformer, tokens, references, words, sigmas, ids, guidance=guidance, bias=bias
            )
        tokens = tokens + flow * (next_level - level)
    return tokens


def _cache(transformer: Transformer) -> AbstractContextManager[None]:
    """What a cache of diffusers' wants around a call, if there is one."""
    found: AbstractContextManager[None] = nullcontext()
    if transformer.is_cache_enabled:
        found = transformer.cache_context("cond")
    return found
