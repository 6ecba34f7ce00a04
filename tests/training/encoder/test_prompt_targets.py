"""Prompts are embedded once, cached by prompt and encoder, and projected to the tower's width."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.builtin.text_embedder import StaticEmbedder
from megastyle_cli.training.encoder.prompt_targets import (
    BIAS,
    SCALE,
    project,
    prompt_targets,
    text_source,
)

PROMPTS = ["teal ink on paper", "ochre oil on canvas", "grey pencil", "ochre oil on canvas"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "size.json"
    path.write_text("{}")
    return str(path)


@pytest.fixture
def siglip(tmp_path):
    """A complete SigLIP with random weights, with a tokenizer of a few words."""
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
def test_projecting_to_a_larger_width_keeps_every_cosine(width):
    rows = StaticEmbedder().embed(PROMPTS)

    projected = project(rows, width)

    assert projected.shape == (4, width) and projected.dtype == np.float32
    assert np.allclose(projected @ projected.T, rows @ rows.T, atol=1e-6)


def test_projecting_to_a_smaller_width_gives_distinct_unit_rows():
    projected = project(StaticEmbedder().embed(PROMPTS), 64)

    assert projected.shape == (4, 64) and np.allclose(
        np.linalg.norm(projected, axis=1), 1, atol=1e-6
    )
    cosines = projected @ projected.T
    assert cosines[1, 3] == pytest.approx(1) and cosines[0, 2] < 0.9


def test_without_a_text_tower_the_builtin_vectors_are_used(config, tmp_path):
    targets = prompt_targets(PROMPTS, config, 300, tmp_path / "prompts", "cpu")

    assert np.array_equal(targets.vectors, project(StaticEmbedder().embed(PROMPTS[:3]), 300))
    assert targets.rows.tolist() == [0, 1, 2, 1]
    assert (targets.scale, targets.bias, targets.name) == (SCALE, BIAS, "wordllama-256")


def test_a_complete_siglip_uses_its_own_tower_scale_and_bias(siglip, tmp_path):
    model, folder = siglip

    targets = prompt_targets(
        ["Teal INK on paper", "oil"], str(folder), 32, tmp_path / "prompts", "cpu"
    )

    tokens = torch.tensor([[2, 3, 4, 5, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        expected = model.text_model(input_ids=tokens).pooler_output
    assert np.allclose(targets.vectors, torch.nn.functional.normalize(expected).numpy(), atol=1e-6)
    assert targets.scale == pytest.approx(np.exp(2.0)) and targets.bias == -3.0


def test_a_prompt_longer_than_the_context_is_truncated(siglip, tmp_path):
    _, folder = siglip

    rows = prompt_targets(
        ["oil " * 30, "oil " * 8], str(folder), 32, tmp_path / "prompts", "cpu"
    ).vectors

    assert np.allclose(rows[0], rows[1], atol=1e-6)


def test_an_incomplete_text_tower_is_rejected(siglip, tmp_path):
    model, folder = siglip
    weights = {n: w for n, w in model.state_dict().items() if "text_model.final" not in n}
    model.save_pretrained(folder, state_dict=weights)

    with pytest.raises(MegastyleError, match="of its text tower"):
        prompt_targets(["oil"], str(folder), 32, tmp_path / "prompts", "cpu")


def test_cached_prompts_are_read_and_only_new_ones_are_embedded(config, tmp_path):
    cache = tmp_path / "prompts"
    prompt_targets(PROMPTS, config, 300, cache, "cpu")
    (file,) = cache.iterdir()
    with np.load(file) as stored:
        assert stored["vectors"].shape == (3, 300)  # the unique prompts
        marked = stored["vectors"].copy()
        keys = stored["keys"]
    marked[:] = 0.5  # recognizable when it is read back
    np.savez(file, keys=keys, vectors=marked)

    targets = prompt_targets([*PROMPTS, "new"], config, 300, cache, "cpu")

    assert (targets.vectors[:3] == 0.5).all() and not (targets.vectors[3] == 0.5).any()


def test_prompts_are_saved_as_they_go(config, tmp_path, monkeypatch):
    monkeypatch.setattr("megastyle_cli.training.encoder.prompt_targets.BLOCK", 2)
    whole = prompt_targets([f"{n} lines" for n in range(7)], config, 48, tmp_path / "one", "cpu")
    assert len(list((tmp_path / "one").iterdir())) == 4

    for file in sorted((tmp_path / "one").iterdir())[:2]:  # what a killed run left
        (tmp_path / "killed").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "killed")
    resumed = prompt_targets(
        [f"{n} lines" for n in range(7)], config, 48, tmp_path / "killed", "cpu"
    )

    assert (resumed.vectors == whole.vectors).all()


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_the_prompts_even_if_only_one_sees_the_cache(config, tmp_path, world):
    prompts = [f"{n} lines" for n in range(7)]  # more than one for some ranks only
    alone = prompt_targets(prompts, config, 48, tmp_path / "alone", "cpu")
    prompt_targets(prompts[:3], config, 48, tmp_path / "0", "cpu")
    barrier = Barrier(world)
    given = [[None] * world, [None] * world]

    def targets_of(rank):
        calls = iter(given)

        def gather(mine):
            joined = next(calls)
            joined[rank] = mine
            barrier.wait()
            return [each for part in joined for each in part]

        options = {"rank": rank, "world": world, "gather": gather}
        return prompt_targets(prompts, config, 48, tmp_path / str(rank), "cpu", **options)

    with ThreadPoolExecutor(world) as ranks:
        made = list(ranks.map(targets_of, range(world)))

    assert all((each.vectors == alone.vectors).all() for each in made)
    assert all((each.rows == alone.rows).all() for each in made)
    missing = {key for part in given[0] for keys in part for key in keys}
    embedded = [key for part in given[1] for keys, _ in part for key in keys]
    assert sorted(embedded) == sorted(missing) and len(missing) == 7  # each once, by one rank


def test_another_encoder_or_width_does_not_use_the_cached_vectors(config, siglip, tmp_path):
    cache = tmp_path / "prompts"
    first = prompt_targets(["oil"], config, 32, cache, "cpu").vectors

    other = prompt_targets(["oil"], str(siglip[1]), 32, cache, "cpu").vectors
    wider = prompt_targets(["oil"], config, 48, tmp_path / "wider", "cpu").vectors

    assert not np.allclose(first, other) and wider.shape == (1, 48)


def test_a_damaged_cache_is_reported(config, tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "0.npz").write_bytes(json.dumps(["no", "zip"]).encode())

    with pytest.raises(MegastyleError, match="damaged"):
        prompt_targets(["oil"], config, 32, tmp_path / "prompts", "cpu")


def test_a_file_of_weights_takes_the_text_encoder_that_is_named(siglip, tmp_path):
    _, folder = siglip
    cache = tmp_path / "prompts"

    source = text_source("encoder.pth", str(folder))

    assert prompt_targets(PROMPTS, source, 32, cache, "cpu").name.startswith("siglip-text@")
    assert text_source("encoder.pth", None) == "encoder.pth"


def test_a_text_encoder_of_another_width_is_refused_with_both(siglip, tmp_path):
    with pytest.raises(MegastyleError, match="has 32 dimensions, the image encoder has 48"):
        prompt_targets(PROMPTS, str(siglip[1]), 48, tmp_path / "prompts", "cpu")


def test_a_model_without_a_text_encoder_is_refused(config):
    with pytest.raises(MegastyleError, match="has no text encoder") as error:
        text_source("encoder.pth", config)

    assert "google/siglip-so400m-patch14-384" in error.value.hint
