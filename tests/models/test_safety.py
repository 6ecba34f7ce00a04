"""Image classifiers of transformers as safety filters: a tiny ViT."""

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.registry import load
from tests.conftest import draw


def save_tiny_vit(folder, labels):
    """An image classifier with these labels, weights from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ViTForImageClassification(
            ViTConfig(
                hidden_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=24,
                image_size=32,
                patch_size=8,
                id2label=dict(enumerate(labels)),
                label2id={label: row for row, label in enumerate(labels)},
                initializer_range=0.5,
            )
        )
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def classifier(folder):
    return load("classifier", "transformers", model=str(folder))


def test_the_score_is_the_sum_of_the_unsafe_labels(tmp_path):
    found = classifier(save_tiny_vit(tmp_path, ("drawing", "Porn", "neutral", "sexy")))
    picture = draw(1)

    with torch.inference_mode():
        pixels = found.processor(images=picture, return_tensors="pt")
        shares = found.model(**pixels).logits.softmax(-1)[0]

    assert found.unsafe([picture]) == pytest.approx([float(shares[1] + shares[3])])


def test_a_score_depends_on_its_picture_alone(tmp_path):
    found = classifier(save_tiny_vit(tmp_path, ("normal", "nsfw")))
    pictures = [draw(seed) for seed in range(3)]

    assert found.unsafe(pictures) == [found.unsafe([picture])[0] for picture in pictures]
    assert len(set(found.unsafe(pictures))) == 3


def test_a_classifier_of_other_things_is_refused_with_its_labels(tmp_path):
    with pytest.raises(MegastyleError, match="has the labels cat, dog: none is one of"):
        classifier(save_tiny_vit(tmp_path, ("cat", "dog")))


@pytest.mark.parametrize("name", ["./missing", "/no/such/model", "a/b/c"])
def test_a_missing_folder_reaches_no_network(name):
    with pytest.raises(MegastyleError, match="there is no classifier"):
        classifier(name)


def test_a_folder_of_no_model_is_one_sentence(tmp_path):
    with pytest.raises(MegastyleError, match="cannot be loaded"):
        classifier(tmp_path)
