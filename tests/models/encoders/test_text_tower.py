"""Text towers: truncation, tokenizers that are missing, damaged or carry code, learned scales."""

import json

import numpy as np
import pytest
import sentencepiece
import torch
from tokenizers import Tokenizer
from transformers import SiglipModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.text_tower import SiglipTextEmbedder, load_tokenizer
from tests.conftest import draw
from tests.models.encoders.hub_siglip import siglip2_of_the_hub, siglip_of_the_hub
from tests.models.encoders.test_dual_encoder import (
    TEXTS,
    changed,
    clip_folder,
    opened,
    siglip_folder,
)


@pytest.fixture(params=[clip_folder, siglip_folder], ids=["clip", "siglip"])
def folder(request, tmp_path):
    return request.param(tmp_path / "model")


def test_scale_and_bias_are_those_that_siglip_learned(tmp_path):
    folder = siglip_folder(tmp_path)
    reference = SiglipModel.from_pretrained(folder)

    tower = SiglipTextEmbedder(folder)

    assert tower.scale == pytest.approx(float(reference.logit_scale.exp().detach()))
    assert tower.bias == pytest.approx(float(reference.logit_bias.detach()))


def test_a_siglip_without_a_scale_is_refused(tmp_path):
    folder = siglip_folder(tmp_path)
    changed(folder, lambda weights: weights.pop("logit_bias"))

    with pytest.raises(MegastyleError, match="has no logit_scale and logit_bias"):
        SiglipTextEmbedder(folder)


def test_a_text_longer_than_the_positions_is_truncated(folder):
    model = opened(folder)

    one, other = model.embed_texts(["oil " * 40, "oil " * 41])

    assert np.array_equal(one, other)


def test_an_incomplete_text_tower_is_refused_with_the_counts_at_the_first_text(folder):
    changed(folder, lambda weights: weights.pop("text_model.final_layer_norm.bias"))
    model = opened(folder)

    with pytest.raises(MegastyleError, match=r"fits \d+ of \d+ tensors of its text tower"):
        model.embed_texts(TEXTS)


def test_images_need_no_tokenizer_and_a_text_reports_that_it_is_missing(folder):
    (folder / "tokenizer.json").unlink()
    model = opened(folder)

    assert len(model.embed([draw(1)])) == 1
    with pytest.raises(MegastyleError, match="has no tokenizer"):
        model.embed_texts(TEXTS)


def test_a_damaged_tokenizer_is_one_sentence(folder):
    (folder / "tokenizer.json").write_text("{")

    with pytest.raises(MegastyleError, match="the tokenizer of .* cannot be read"):
        opened(folder).embed_texts(TEXTS)


def test_code_that_comes_with_a_tokenizer_is_never_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "evil.py").write_text("from pathlib import Path; Path('went-off').touch()")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))

    opened(folder).embed_texts(TEXTS)

    assert not (tmp_path / "went-off").exists()


def test_the_hub_s_siglip_is_tokenized_by_its_sentencepiece_model(tmp_path):
    folder = siglip_of_the_hub(tmp_path)
    pieces = sentencepiece.SentencePieceProcessor(str(folder / "spiece.model"))

    (row,) = load_tokenizer(folder, 64)(["teal ink, on paper!"])["input_ids"].tolist()

    # without punctuation, then </s> up to the 64 positions, as in the model's training
    assert row == pieces.encode("teal ink on paper") + [1] * (64 - 12)


def test_the_hub_s_siglip_2_is_tokenized_as_its_tokenizer_file_says(tmp_path):
    folder = siglip2_of_the_hub(tmp_path)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("teal ink on paper").ids

    (row,) = load_tokenizer(folder, 64)(["teal ink on paper"])["input_ids"].tolist()

    assert row == ids + [0] * (64 - len(ids)) and ids[-1] == 1


@pytest.mark.parametrize("make", [siglip_of_the_hub, siglip2_of_the_hub])
def test_texts_of_the_hub_s_models_are_embedded_as_transformers_does(make, tmp_path):
    folder = make(tmp_path)
    tokens = load_tokenizer(folder, 64)(["ochre oil on canvas"])["input_ids"]
    with torch.inference_mode():
        reference = SiglipModel.from_pretrained(folder).get_text_features(input_ids=tokens)
    vector = torch.nn.functional.normalize(getattr(reference, "pooler_output", reference)).numpy()

    assert np.array_equal(SiglipTextEmbedder(folder).embed(["Ochre oil on CANVAS"]), vector)


def test_a_tokenizer_that_needs_a_package_names_it_and_no_download(tmp_path):
    folder = siglip_of_the_hub(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "XLMTokenizer"  # needs sacremoses, which nothing here installs
    (folder / "tokenizer_config.json").write_text(json.dumps(config))

    with pytest.raises(MegastyleError, match="needs the package 'sacremoses'") as error:
        load_tokenizer(folder, 64)

    assert error.value.hint == "pip install sacremoses"
