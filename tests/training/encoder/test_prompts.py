"""Prompts are embedded once, kept by prompt and encoder, and carried to the tower's width."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder
from megastyle_cli.training.encoder.prompts import BIAS, SCALE, carried, text_side

PROMPTS = ["teal ink on paper", "ochre oil on canvas", "grey pencil", "ochre oil on canvas"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "size.json"
    path.write_text("{}")
    return str(path)


@pytest.fixture
def siglip(tmp_path):
    """A whole SigLIP of random weights, with a tokenizer of a few words."""
    torch.manual_seed(2)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    text = {**small, "vocab_size": 12, "max_position_embeddings": 8, "projection_size": 32}
    vision = {**small, "image_size": 16, "patch_size": 8, "num_attention_heads": 2}
    model = SiglipModel(
        SiglipConfig(text_config={**text, "num_attention_heads": 2}, vision_config=vision)
    )
    torch.nn.init.constant_(model.logit_scale, 2.0)
    torch.nn.init.constant_(model.logit_bias, -3.0)
    model.save_pretrained(tmp_path / "siglip")
    words = ["<pad>", "<unk>", "teal", "ink", "on", "paper", "ochre", "oil", "canvas"]
    tokens = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokens.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(tmp_path / "siglip")
    return model, tmp_path / "siglip"


@pytest.mark.parametrize("width", [256, 300, 1152])
def test_carrying_to_a_larger_width_keeps_every_cosine(width):
    rows = StaticEmbedder().embed(PROMPTS)

    moved = carried(rows, width)

    assert moved.shape == (4, width) and moved.dtype == np.float32
    assert np.allclose(moved @ moved.T, rows @ rows.T, atol=1e-6)


def test_carrying_to_a_smaller_width_gives_unit_rows_that_still_tell_apart():
    moved = carried(StaticEmbedder().embed(PROMPTS), 64)

    assert moved.shape == (4, 64) and np.allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-6)
    cosines = moved @ moved.T
    assert cosines[1, 3] == pytest.approx(1) and cosines[0, 2] < 0.9


def test_without_a_text_tower_the_builtin_vectors_stand_in(config, tmp_path):
    side = text_side(PROMPTS, config, 300, tmp_path / "kept.npz", "cpu")

    assert np.array_equal(side.vectors, carried(StaticEmbedder().embed(PROMPTS[:3]), 300))
    assert side.own.tolist() == [0, 1, 2, 1]
    assert (side.scale, side.bias, side.name) == (SCALE, BIAS, "wordllama-256")


def test_a_whole_siglip_encodes_with_its_own_tower_scale_and_bias(siglip, tmp_path):
    model, folder = siglip

    side = text_side(["Teal INK on paper", "oil"], str(folder), 32, tmp_path / "kept.npz", "cpu")

    tokens = torch.tensor([[2, 3, 4, 5, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        expected = model.text_model(input_ids=tokens).pooler_output
    assert np.allclose(side.vectors, torch.nn.functional.normalize(expected).numpy(), atol=1e-6)
    assert side.scale == pytest.approx(np.exp(2.0)) and side.bias == -3.0


def test_a_prompt_of_more_tokens_than_the_tower_has_places_is_cut(siglip, tmp_path):
    _, folder = siglip

    rows = text_side(
        ["oil " * 30, "oil " * 8], str(folder), 32, tmp_path / "kept.npz", "cpu"
    ).vectors

    assert np.allclose(rows[0], rows[1], atol=1e-6)


def test_a_text_tower_that_is_not_whole_is_refused(siglip, tmp_path):
    model, folder = siglip
    weights = {n: w for n, w in model.state_dict().items() if "text_model.final" not in n}
    model.save_pretrained(folder, state_dict=weights)

    with pytest.raises(MegastyleError, match="of its text tower"):
        text_side(["oil"], str(folder), 32, tmp_path / "kept.npz", "cpu")


def test_what_was_embedded_once_is_read_and_only_new_prompts_are_made(config, tmp_path):
    kept = tmp_path / "kept.npz"
    text_side(PROMPTS, config, 300, kept, "cpu")
    with np.load(kept) as held:
        assert held["vectors"].shape == (3, 300)  # unique ones
        marked = held["vectors"].copy()
        keys = held["keys"]
    marked[:] = 0.5  # if it is read, this is what comes back
    np.savez(kept, keys=keys, vectors=marked)

    side = text_side([*PROMPTS, "new"], config, 300, kept, "cpu")

    assert (side.vectors[:3] == 0.5).all() and not (side.vectors[3] == 0.5).any()


def test_another_encoder_or_width_does_not_read_what_was_kept(config, siglip, tmp_path):
    kept = tmp_path / "kept.npz"
    first = text_side(["oil"], config, 32, kept, "cpu").vectors

    other = text_side(["oil"], str(siglip[1]), 32, kept, "cpu").vectors
    wider = text_side(["oil"], config, 48, tmp_path / "wider.npz", "cpu").vectors

    assert not np.allclose(first, other) and wider.shape == (1, 48)


def test_a_damaged_file_of_kept_vectors_is_one_sentence(config, tmp_path):
    (tmp_path / "kept.npz").write_bytes(json.dumps(["no", "zip"]).encode())

    with pytest.raises(MegastyleError, match="damaged"):
        text_side(["oil"], config, 32, tmp_path / "kept.npz", "cpu")
