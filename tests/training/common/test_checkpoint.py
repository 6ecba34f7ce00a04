"""Checkpoints: the newest is read back, older ones are deleted, files have normal permissions."""

import pytest
import torch
from transformers import SiglipVisionConfig

from megastyle_cli.core.record import Run
from megastyle_cli.models.encoders.siglip_vision import (
    load_tower,
    new_tower,
    save_folder,
)
from megastyle_cli.models.tensor_files import read_weights
from megastyle_cli.training.common.checkpoint import (
    checkpoint_path,
    load_checkpoint,
    new_checkpoint,
    publish_checkpoint,
)
from megastyle_cli.training.common.run_folder import start_run

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}
RUN = Run("train-encoder", {"lr": 0.1}, "1")


@pytest.fixture
def vision():
    return new_tower(SiglipVisionConfig(**SIZE, num_attention_heads=2, patch_size=8), seed=1)


@pytest.fixture
def folder(tmp_path):
    start_run(tmp_path / "run", RUN, overwrite=False)
    return tmp_path / "run"


def save(folder, step, vision, state=None):
    """A whole checkpoint of that step."""
    with new_checkpoint(folder, step, state or {}) as temporary:
        save_folder(vision, temporary)
    publish_checkpoint(folder, step)


def test_the_newest_checkpoint_is_read_back(vision, folder):
    assert load_checkpoint(folder) is None
    for step in (5, 10):
        save(folder, step, vision, {"optimizer": {"moment": torch.full((2,), step)}})

    saved, state = load_checkpoint(folder)
    weights = read_weights(saved / "model.safetensors")

    assert all(torch.equal(weights[name], w) for name, w in vision.state_dict().items())
    assert state["step"] == 10 and state["optimizer"]["moment"].tolist() == [10, 10]
    assert load_tower(str(folder / "latest")).config.hidden_size == 16


def test_old_checkpoints_are_deleted(vision, folder):
    for step in (5, 10, 99, 100, 101):
        save(folder, step, vision)

    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["step-00000100", "step-00000101"]


def test_a_moved_folder_still_works(vision, folder, tmp_path):
    save(folder, 5, vision)

    moved = folder.rename(tmp_path / "elsewhere")

    assert load_checkpoint(moved) is not None


def test_files_have_the_permissions_of_the_umask(vision, folder):
    save(folder, 5, vision)

    (folder / "beside").touch()
    modes = {path.name: path.stat().st_mode for path in checkpoint_path(folder, 5).iterdir()}
    assert modes.keys() == {
        *("config.json", "model.safetensors", "preprocessor_config.json", "training.pt")
    }
    assert set(modes.values()) == {(folder / "beside").stat().st_mode}
