"""Images and texts in one space: embedded as transformers does, from weights that fit."""

import json
import re
import string

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers import CLIPImageProcessorPil as ClipProcessor
from transformers import SiglipImageProcessorPil as SiglipProcessor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import declared_options
from megastyle_cli.models.encoders.dual_encoder import encoder_by_config, siglip_encoder
from megastyle_cli.models.encoders.siglip_vision import load_tower
from megastyle_cli.models.encoders.text_tower import SiglipTextEmbedder
from megastyle_cli.models.options import EncoderBackendOptions
from megastyle_cli.models.protocols import TextEncoder
from megastyle_cli.models.registry import BACKENDS, load
from tests.conftest import draw
from tests.models.encoders.hub_siglip import naflex_of_the_hub

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
VISION = {**SMALL, "image_size": 32, "patch_size": 8}
TEXTS = ["Teal INK on paper", "ochre", "an oil painting of a boat, a frog and a bench at sea"]


def clip_folder(folder, seed=3):
    """A whole CLIP of random weights, with its tokenizer."""
    letters = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, "oi", "in", "oil</w>", "ink</w>"]
    merges = [("o", "i"), ("i", "n"), ("oi", "l</w>"), ("in", "k</w>")]
    CLIPTokenizer(vocab={w: i for i, w in enumerate(words)}, merges=merges).save_pretrained(folder)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 20, "pad_token_id": 1}
    torch.manual_seed(seed)
    model = CLIPModel(
        CLIPConfig(
            text_config={**text, "bos_token_id": 0, "eos_token_id": 1},
            vision_config=VISION,
            projection_dim=24,
        )
    )
    model.save_pretrained(folder)
    return folder


def siglip_folder(folder, seed=3):
    """A whole SigLIP of random weights, with its tokenizer."""
    words = ["<pad>", "<unk>", "teal", "ink", "on", "paper", "ochre", "oil", "boat", "a"]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 8, "projection_size": 32}
    torch.manual_seed(seed)
    SiglipModel(SiglipConfig(text_config=text, vision_config=VISION)).save_pretrained(folder)
    return folder


@pytest.fixture(params=[clip_folder, siglip_folder], ids=["clip", "siglip"])
def folder(request, tmp_path):
    return request.param(tmp_path / "model")


def opened(folder):
    return load("text_image", "auto", model=str(folder), device="cpu")


def changed(folder, change):
    """Applies `change` to the state dict in the folder."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def unit(features):
    return torch.nn.functional.normalize(features.pooler_output).numpy()


def test_clip_embeds_as_transformers_does(tmp_path):
    folder = clip_folder(tmp_path)
    pictures = [draw(seed, 30 + 29 * seed, 90) for seed in range(4)]
    model = opened(folder)

    rows, words = model.embed(pictures), model.embed_texts(TEXTS)

    reference, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    side = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    inputs = ClipProcessor(**side)(pictures, return_tensors="pt")
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=20, return_tensors="pt")
    with torch.no_grad():
        assert np.allclose(rows, unit(reference.get_image_features(**inputs)), atol=1e-6)
        assert np.allclose(words, unit(reference.get_text_features(**tokens)), atol=1e-6)
    assert rows.dtype == words.dtype == np.float32 and rows.shape == (4, 24)


def test_siglip_embeds_as_transformers_does(tmp_path):
    folder = siglip_folder(tmp_path)
    pictures = [draw(seed, 30 + 29 * seed, 90) for seed in range(4)]
    model = opened(folder)

    rows, words = model.embed(pictures), model.embed_texts(TEXTS)

    reference = SiglipModel.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    inputs = SiglipProcessor(size={"height": 32, "width": 32})(pictures, return_tensors="pt")
    lower = [text.lower() for text in TEXTS]
    tokens = tokenizer(
        lower, padding="max_length", truncation=True, max_length=8, return_tensors="pt"
    )
    with torch.no_grad():
        assert np.allclose(rows, unit(reference.get_image_features(**inputs)), atol=1e-6)
        features = reference.get_text_features(input_ids=tokens["input_ids"])
        assert np.allclose(words, unit(features), atol=1e-6)
    assert rows.dtype == words.dtype == np.float32 and rows.shape == (4, 32)


def test_a_row_does_not_depend_on_its_batch(folder):
    model = opened(folder)
    pictures = [draw(seed, 60, 40) for seed in range(4)]

    assert np.array_equal(model.embed(pictures)[2:3], model.embed(pictures[2:3]))
    assert np.array_equal(model.embed_texts(TEXTS)[1:2], model.embed_texts(TEXTS[1:2]))


def test_no_inputs_give_no_rows_of_the_same_width(folder):
    model = opened(folder)

    assert (
        model.embed([]).shape == model.embed_texts([]).shape == (0, len(model.embed([draw(1)]).T))
    )


@pytest.mark.parametrize("make", [clip_folder, siglip_folder])
def test_the_name_depends_on_the_weights_of_both_towers(make, tmp_path):
    folder = make(tmp_path)
    first = opened(folder).name

    changed(folder, lambda weights: weights["text_model.final_layer_norm.bias"].add_(1))
    other_text = opened(folder).name
    changed(folder, lambda weights: weights["vision_model.post_layernorm.bias"].add_(1))
    other_picture = opened(folder).name

    assert len({first, other_text, other_picture}) == 3
    assert opened(folder).name == other_picture and first.startswith(f"{folder}@")


def test_the_position_ids_of_old_clips_are_ignored(tmp_path):
    folder = clip_folder(tmp_path)
    before = opened(folder)

    def old(weights):
        weights["text_model.embeddings.position_ids"] = torch.arange(20)[None]
        weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]

    changed(folder, old)
    after = opened(folder)

    assert np.array_equal(after.embed([draw(1)]), before.embed([draw(1)]))
    assert np.array_equal(after.embed_texts(TEXTS), before.embed_texts(TEXTS))


def test_the_same_weights_for_open_clip_beside_them_are_not_read(folder):
    before = opened(folder)
    save_file({"visual.proj": torch.ones(3)}, folder / "open_clip_model.safetensors")

    assert opened(folder).name == before.name


def test_an_incomplete_image_tower_is_refused_with_the_counts(folder):
    changed(folder, lambda weights: weights.pop("vision_model.post_layernorm.bias"))

    with pytest.raises(MegastyleError, match=r"fits (\d+) of (\d+) tensors .*1 missing"):
        opened(folder)


def test_a_tensor_of_neither_tower_is_refused(folder):
    changed(folder, lambda weights: weights.update(classifier=torch.zeros(3)))

    with pytest.raises(
        MegastyleError, match="1 tensors that belong to neither tower, such as classifier"
    ):
        opened(folder)


def test_weights_of_another_size_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["hidden_size"] = 16
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(MegastyleError, match="missing or of another shape"):
        opened(folder)


@pytest.mark.parametrize(
    "config, word",
    [
        (None, "has no readable config.json"),
        ("{", "has no readable config.json"),
        ("[]", "has no readable config.json"),
        ('{"model_type": "bert"}', "holds a bert"),
        (
            '{"model_type": "clip", "vision_config": {"hidden_size": 33}}',
            "is not a valid CLIPModel config",
        ),
        (
            '{"model_type": "siglip", "vision_config": {"hidden_size": 33}}',
            "is not a valid SiglipVisionModel config",
        ),
    ],
)
def test_a_config_that_makes_no_such_model_is_one_sentence(folder, config, word):
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)

    with pytest.raises(MegastyleError, match=word):
        opened(folder)


@pytest.mark.parametrize(
    "make, backend", [(clip_folder, "clip"), (siglip_folder, "siglip")], ids=["clip", "siglip"]
)
def test_a_style_encoder_of_a_whole_model_embeds_texts(make, backend, tmp_path):
    folder = make(tmp_path)

    encoder = load("style_encoder", backend, model=str(folder), device="cpu")

    assert isinstance(encoder, TextEncoder)
    assert np.array_equal(encoder.embed_texts(TEXTS), opened(folder).embed_texts(TEXTS))


def test_a_style_encoder_of_an_image_tower_alone_does_not_embed_texts(tmp_path):
    SiglipModel.from_pretrained(siglip_folder(tmp_path / "whole")).vision_model.save_pretrained(
        tmp_path / "tower"
    )

    tower = load("style_encoder", "siglip", model=str(tmp_path / "tower"), device="cpu")

    assert not isinstance(tower, TextEncoder)
    assert not isinstance(load("style_encoder", "builtin"), TextEncoder)


@pytest.mark.parametrize("kind", ["clip", "clip_vision_model"])
def test_a_clip_in_place_of_a_siglip_is_refused_with_its_backend(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))

    with pytest.raises(MegastyleError, match=f"holds a {kind}, not a SigLIP") as refused:
        load("style_encoder", "siglip", model=str(tmp_path))

    assert refused.value.hint == "add --backend clip"


def test_the_help_of_backend_names_every_style_encoder():
    (_, declared) = next(declared_options(EncoderBackendOptions))
    help_text = declared.help

    assert set(BACKENDS["style_encoder"]) <= set(re.findall(r"\w+", help_text))


def test_without_a_model_it_says_what_to_give():
    with pytest.raises(MegastyleError, match="needs weights"):
        load("text_image", "auto")


@pytest.mark.parametrize(
    "load", [siglip_encoder, encoder_by_config, load_tower, SiglipTextEmbedder]
)
def test_a_siglip_2_of_variable_resolution_is_refused_in_one_sentence(load, tmp_path):
    folder = naflex_of_the_hub(tmp_path / "naflex")

    for model in (folder, folder / "model.safetensors"):
        if load is not SiglipTextEmbedder or model is folder:
            with pytest.raises(MegastyleError, match="SigLIP 2 of variable resolution") as error:
                load(model if load is SiglipTextEmbedder else str(model))

            assert error.value.exit_code == 2
            assert "google/siglip2-so400m-patch14-384" in error.value.hint
