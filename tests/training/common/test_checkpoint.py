"""A run's folder: checkpoints whole or absent, a pointer to the newest, lines that fit the step."""

import errno
import json
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import SiglipVisionConfig

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.models.encoders.siglip_vision import load_tower, new_tower, save_folder
from megastyle_cli.models.tensor_files import read_weights
from megastyle_cli.training.common.atomic_folder import write_whole
from megastyle_cli.training.common.checkpoint import (
    load_checkpoint,
    occupied,
    put_back,
    refuse_run,
    save_checkpoint,
    start_run,
)

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}
RUN = Run("train-encoder", {"lr": 0.1}, "1")


@pytest.fixture
def vision():
    return new_tower(SiglipVisionConfig(**SIZE, num_attention_heads=2, patch_size=8), seed=1)


@pytest.fixture
def folder(tmp_path):
    start_run(tmp_path / "run", RUN, overwrite=False)
    return tmp_path / "run"


def test_the_newest_checkpoint_is_read_back(vision, folder):
    assert load_checkpoint(folder) is None
    for step in (5, 10):
        save_checkpoint(
            folder,
            step,
            partial(save_folder, vision),
            {"optimizer": {"moment": torch.full((2,), step)}},
        )

    saved, state = load_checkpoint(folder)
    weights = read_weights(saved / "model.safetensors")

    assert all(torch.equal(weights[name], w) for name, w in vision.state_dict().items())
    assert state["step"] == 10 and state["optimizer"]["moment"].tolist() == [10, 10]
    assert load_tower(str(folder / "latest")).config.hidden_size == 16


def test_what_is_overwritten_goes_with_the_first_checkpoint_and_can_be_put_back(vision, folder):
    save_checkpoint(folder, 7, partial(save_folder, vision), {})
    other = Run("train-encoder", {"lr": 0.2}, "1")

    start_run(folder, other, overwrite=True)
    assert load_checkpoint(folder) is None
    put_back(folder)
    assert load_checkpoint(folder)[1]["step"] == 7
    assert json.loads((folder / "run.json").read_text())["run"] == RUN.key

    start_run(folder, other, overwrite=True)
    save_checkpoint(folder, 3, partial(save_folder, vision), {})
    assert load_checkpoint(folder)[1]["step"] == 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("renames", range(6))
@pytest.mark.parametrize("undone", [False, True])
def test_what_is_overwritten_outlives_a_kill_at_any_rename(
    vision, folder, monkeypatch, renames, undone
):
    save_checkpoint(folder, 7, partial(save_folder, vision), {})
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    other = Run("train-encoder", {"lr": 0.2}, "1")
    left, plainly = [renames], Path.rename

    def rename(self, target):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return plainly(self, target)

    if undone:
        start_run(folder, other, overwrite=True)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Path, "rename", rename)
        put_back(folder) if undone else start_run(folder, other, overwrite=True)

    refuse_run(folder, other, resume=False, overwrite=True, force=False)
    start_run(folder, other, overwrite=True)
    assert load_checkpoint(folder) is None
    put_back(folder)
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before
    assert load_checkpoint(folder)[1]["step"] == 7


def test_a_run_whose_successor_was_killed_without_a_checkpoint_can_be_resumed(vision, folder):
    save_checkpoint(folder, 7, partial(save_folder, vision), {})
    start_run(folder, Run("train-encoder", {"lr": 0.2}, "1"), overwrite=True)

    refuse_run(folder, RUN, resume=True, overwrite=False, force=False)
    start_run(folder, RUN, overwrite=False)

    assert load_checkpoint(folder)[1]["step"] == 7
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    with pytest.raises(MegastyleError, match="other options"):
        refuse_run(
            folder,
            Run("train-encoder", {"lr": 0.3}, "1"),
            resume=True,
            overwrite=False,
            force=False,
        )


def test_a_usage_error_after_a_checkpoint_takes_nothing_away(vision, folder):
    start_run(folder, RUN, overwrite=True)
    save_checkpoint(folder, 3, partial(save_folder, vision), {})
    put_back(folder)
    assert load_checkpoint(folder)[1]["step"] == 3


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    start_run(link, RUN, overwrite=False)
    put_back(link)
    assert link.is_symlink() and not list(link.iterdir())


def test_a_start_that_came_to_nothing_leaves_nothing(folder):
    put_back(folder)
    assert not folder.exists()


def test_old_checkpoints_are_deleted(vision, folder):
    for step in (5, 10, 99, 100, 101):
        save_checkpoint(folder, step, partial(save_folder, vision), {})

    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == ["step-00000100", "step-00000101"]


def test_a_folder_still_works_where_it_is_moved_to(vision, folder, tmp_path):
    save_checkpoint(folder, 5, partial(save_folder, vision), {})

    moved = folder.rename(tmp_path / "elsewhere")

    assert load_checkpoint(moved) is not None


def test_weights_are_for_whom_the_umask_says(vision, folder):
    made = save_checkpoint(folder, 5, partial(save_folder, vision), {})

    (folder / "beside").touch()
    modes = {path.name: path.stat().st_mode for path in made.iterdir()}
    assert modes.keys() == {
        *("config.json", "model.safetensors", "preprocessor_config.json", "training.pt")
    }
    assert set(modes.values()) == {(folder / "beside").stat().st_mode}


def test_a_write_that_fails_leaves_what_stood_there(tmp_path):
    final = tmp_path / "file"
    final.write_text("before")

    def fill_the_disk(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(MegastyleError, match="could not be written: no space left") as error:
        write_whole(final, fill_the_disk)

    assert error.value.exit_code == 1 and final.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_leftovers_of_a_killed_run_are_removed_when_it_starts_again(folder):
    (folder / "checkpoints" / ".step-00000007.tmp").mkdir()
    (folder / ".encoder.pth.tmp").write_text("half")

    start_run(folder, RUN, overwrite=False)

    assert not list(folder.rglob("*.tmp"))


def test_two_processes_do_not_train_in_one_folder(folder):
    with (
        occupied(folder),
        pytest.raises(MegastyleError, match="another process is training"),
        occupied(folder),
    ):
        pass

    with occupied(folder):  # the lock went with its holder
        assert (folder / "run.json").exists()


def test_other_options_are_named(folder):
    other = Run("train-encoder", {"lr": 0.2}, "1")

    with pytest.raises(MegastyleError, match=r"lr was 0\.1 and is 0\.2"):
        refuse_run(folder, other, resume=True, overwrite=False, force=False)
    refuse_run(folder, other, resume=True, overwrite=False, force=True)
    refuse_run(folder, RUN, resume=True, overwrite=False, force=False)
