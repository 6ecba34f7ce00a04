"""A model is built from exactly its weights, or refused with the counts."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.strict_weights import (
    build_config,
    build_model,
    fingerprint,
    first_values,
    load_strictly,
    read_config,
)

SIZE = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture
def folder(tmp_path):
    ViTForImageClassification(ViTConfig(**SIZE)).save_pretrained(tmp_path)
    return tmp_path


def changed(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_a_model_holds_the_weights_given_as_float32():
    made = ViTModel(ViTConfig(**SIZE))
    weights = {name: w.bfloat16() for name, w in made.state_dict().items()}

    built = build_model(ViTModel, build_config(ViTModel, SIZE, "it"), weights, "it")

    assert built.state_dict().keys() == weights.keys()
    for name, w in built.state_dict().items():
        assert w.dtype == torch.float32 and torch.equal(w, weights[name].float())


def test_a_missing_a_misshapen_and_an_extra_tensor_are_counted():
    config = build_config(ViTModel, SIZE, "it")
    weights = dict(ViTModel(config).state_dict())
    count = len(weights)
    del weights["layernorm.bias"]
    weights["layernorm.weight"] = torch.zeros(7)
    weights["more"] = torch.zeros(1)

    with pytest.raises(MegastyleError) as error:
        build_model(ViTModel, config, weights, "it", " of its tower")

    assert error.value.message == (
        f"it fits {count - 2} of {count} tensors of its tower (2 missing or of another shape, such"
        " as layernorm.weight; 1 extra, such as more)"
    )


def test_a_config_of_another_model_or_of_no_network_is_one_sentence():
    with pytest.raises(MegastyleError, match="it holds a bert, not a vit"):
        build_config(ViTModel, {"model_type": "bert"}, "it")
    with pytest.raises(MegastyleError, match="not a valid ViTModel config: "):
        build_config(ViTModel, {**SIZE, "patch_size": 0}, "it")


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_a_folder_without_a_config_is_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)

    with pytest.raises(MegastyleError, match="has no readable config.json"):
        read_config(tmp_path)


def test_the_values_of_a_config_are_read_as_they_are(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SIZE))

    assert read_config(tmp_path) == SIZE


def test_a_whole_folder_is_loaded_for_evaluation(folder):
    model = load_strictly(ViTForImageClassification, folder, dtype=torch.bfloat16)

    assert not model.training and model.dtype == torch.bfloat16


def test_a_folder_that_lacks_a_tensor_is_refused_by_its_name(folder):
    changed(folder, lambda weights: weights.pop("classifier.bias"))

    with pytest.raises(MegastyleError, match="1 weights are missing, .* such as classifier.bias"):
        load_strictly(ViTForImageClassification, folder)


def test_a_folder_with_a_tensor_too_many_is_refused_unless_extra_ones_are_ignored(folder):
    changed(folder, lambda weights: weights.update(more=torch.zeros(1)))

    with pytest.raises(MegastyleError, match="such as more"):
        load_strictly(ViTForImageClassification, folder)
    assert load_strictly(ViTForImageClassification, folder, ignore_extra=True)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def overwrite(path):
    path.write_bytes(b"\xff" * 16 + path.read_bytes()[16:])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut_off, overwrite, empty])
def test_a_damaged_part_of_a_model_is_named(tmp_path, harm):
    folder = tmp_path / "models--owner--model" / "snapshots" / ("0" * 40)
    model = ViTForImageClassification(ViTConfig(**SIZE))
    model.save_pretrained(folder, max_shard_size="2KB")
    parts = sorted(folder.glob("*.safetensors"))
    harm(parts[1])

    with pytest.raises(MegastyleError) as error:
        load_strictly(ViTForImageClassification, folder)

    assert len(parts) > 2 and error.value.message == f"{parts[1]} is damaged"
    assert error.value.hint == (
        f"download it again: hf download owner/model {parts[1].name} --force-download"
    )


def test_a_folder_of_pickled_weights_is_not_read(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(OSError, match="safetensors"):
        load_strictly(ViTForImageClassification, folder)


def test_a_fingerprint_changes_with_any_byte_or_name_and_not_with_the_order():
    one, two = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    found = fingerprint({"a": one, "b": two})

    assert found == fingerprint({"b": two, "a": one}) and len(found) == 8
    assert found != fingerprint({"a": one, "c": two})
    assert found != fingerprint({"a": torch.tensor([1.0, 2.5]), "b": two})


def test_first_values_are_the_same_in_any_dtype_a_model_runs_in():
    weights = {"a": torch.arange(200.0).reshape(2, 100)}

    (values,) = first_values(weights).values()

    assert values.tolist() == list(range(64))
    assert torch.equal(first_values({"a": weights["a"].bfloat16()})["a"], values)
