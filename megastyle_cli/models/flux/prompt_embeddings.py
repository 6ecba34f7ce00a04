"""The embeddings of prompts by FLUX's text encoders, T5 and CLIP."""

from dataclasses import dataclass

import torch
from torch import Tensor

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.text_to_image.pipeline_loader import Pipeline

# b prompts, t text tokens (512), d width of T5 (4096)

TEXT_TOKENS = 512
MAX_WORDS_LISTED = 40  # in the error, for a model with a short word list


@dataclass(frozen=True, kw_only=True)
class PromptEmbeddings:
    """T5's hidden states (b, t, d) and CLIP's pooled embedding (b, 768) of b prompts."""

    states: Tensor
    pooled: Tensor


def max_text_tokens(pipeline: Pipeline) -> int:
    """T5 tokens of a prompt: 512 for FLUX.1, fewer if the tokenizer's config says so."""
    return min(TEXT_TOKENS, int(pipeline.tokenizer_2.model_max_length))


def check_known_words(pipeline: Pipeline, prompt: str) -> None:
    """Raises BadRecord (unknown_word) if the tokenizer has no token for a word of the prompt.

    FLUX.1's tokenizer spells out every word; `builtin-flux` has a fixed list of words.
    """
    table = pipeline.tokenizer
    unknown = [
        word
        for word in prompt.split()
        if table.unk_token_id in table(word, add_special_tokens=False).input_ids
    ]
    if unknown:
        known = sorted(set(table.get_vocab()) - set(table.all_special_tokens))
        more = ", ..." if len(known) > MAX_WORDS_LISTED else ""
        raise BadRecord(
            "unknown_word",
            f"the model does not know {', '.join(unknown)}: it knows"
            f" {', '.join(known[:MAX_WORDS_LISTED])}{more}",
        )


def encode_prompts(
    pipeline: Pipeline, prompts: list[str], device: torch.device
) -> PromptEmbeddings:
    """The embeddings of `prompts` by the pipeline's text encoders."""
    states, pooled, _ = pipeline.encode_prompt(
        prompts, device=device, max_sequence_length=max_text_tokens(pipeline)
    )
    return PromptEmbeddings(states=states, pooled=pooled)
