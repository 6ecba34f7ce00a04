"""Prompts are encoded to the tokenizer's length, and unknown words are named."""

import pytest
import torch

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.prompt_embeddings import (
    check_known_words,
    encode_prompts,
    max_text_tokens,
)
from tests.tiny_flux import save_tiny_flux

CPU = torch.device("cpu")


@torch.inference_mode()
def test_prompts_have_the_length_of_the_tokenizer_and_at_most_512_tokens(tmp_path):
    short, long = (
        load_flux(str(save_tiny_flux(tmp_path / str(n), text_tokens=n)), torch.float32)
        for n in (6, 600)
    )

    embeddings = encode_prompts(short, ["a fox", "a very long prompt of many letters"], CPU)

    assert embeddings.states.shape == (2, 6, 24) and embeddings.pooled.shape == (2, 20)
    assert max_text_tokens(short) == 6 and max_text_tokens(long) == 512


def test_words_without_a_token_raise_and_are_named(tmp_path):
    pipeline = load_flux(str(save_tiny_flux(tmp_path)), torch.float32)

    check_known_words(pipeline, "a fox")
    with pytest.raises(BadRecord, match="the model does not know 7, f4x: it knows a, ") as error:
        check_known_words(pipeline, "a 7 f4x")
    assert error.value.kind == "unknown_word"
    assert error.value.message.endswith(", ...")  # of more than 40
