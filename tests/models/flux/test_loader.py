"""FLUX models are found, inspected and loaded whole, or an error says what is wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.loader import (
    BUILTIN_FLUX,
    block_counts,
    find_flux,
    is_reference_trained,
    load_flux,
    training_size_px,
)
from megastyle_cli.models.flux.patch_autoencoder import PatchAutoencoder
from tests.tiny_flux import save_tiny_flux, tiny_transformer


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model_index.json").unlink(), "not a complete FLUX model"),
        (lambda folder: (folder / "vae" / "config.json").write_text("{"), "cannot be read"),
        (
            lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
            "cannot be read",
        ),
    ],
)
def test_an_incomplete_model_folder_raises(tmp_path, damage, message):
    folder = save_tiny_flux(tmp_path / "tiny")
    damage(folder)

    with pytest.raises(MegastyleError, match=message):
        load_flux(str(folder), torch.float32)


def test_a_missing_weight_raises_with_its_name(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights.pop("proj_out.bias")
    save_file(weights, file)

    with pytest.raises(MegastyleError, match=r"such as proj_out\.bias"):
        load_flux(str(folder), torch.float32)


def test_a_given_transformer_replaces_that_of_the_folder(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    (folder / "transformer").rename(tmp_path / "transformer")
    transformer = tiny_transformer(seed=1)

    pipeline = load_flux(str(folder), torch.float32, transformer)

    assert pipeline.transformer is transformer
    with pytest.raises(MegastyleError, match="not a complete FLUX model: it has no transformer"):
        load_flux(str(folder), torch.float32)


def test_the_builtin_model_is_whole_and_has_a_patch_autoencoder():
    pipeline = load_flux(BUILTIN_FLUX, torch.float32)

    assert isinstance(pipeline.vae, PatchAutoencoder)
    assert is_reference_trained(BUILTIN_FLUX) and training_size_px(BUILTIN_FLUX) == 64


def test_a_model_without_metadata_was_trained_at_512_and_on_no_reference(tmp_path):
    folder = str(save_tiny_flux(tmp_path / "tiny"))

    assert training_size_px(folder) == 512
    assert not is_reference_trained(folder)


@pytest.mark.parametrize("size", ["large", "-1", "0", "9" * 30])
def test_a_forged_training_size_is_refused(tmp_path, size):
    folder = save_tiny_flux(tmp_path / "tiny")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(weights), weights, {"megastyle.size": size})

    with pytest.raises(MegastyleError, match=f"invalid training size: '{size}'"):
        training_size_px(str(folder))


def test_the_blocks_are_counted_by_the_config(tmp_path):
    folder = save_tiny_flux(tmp_path / "tiny")
    assert block_counts(str(folder)) == (2, 2)

    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps({"num_layers": 2}))
    with pytest.raises(MegastyleError, match="does not say how many blocks"):
        block_counts(str(folder))


def test_a_missing_model_says_how_to_download_flux_1(tmp_path):
    with pytest.raises(MegastyleError) as error:
        find_flux(str(tmp_path / "none"))

    assert "hf download black-forest-labs/FLUX.1-dev" in error.value.hint
