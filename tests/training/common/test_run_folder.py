"""The run folder: options are compared, an overwritten run can be restored, writes are atomic."""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
from transformers import SiglipVisionConfig

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.models.encoders.siglip_vision import new_tower
from megastyle_cli.training.common.checkpoint import (
    checkpoint_path,
    delete_replaced,
    load_checkpoint,
    publish_checkpoint,
)
from megastyle_cli.training.common.run_folder import (
    check_run_folder,
    is_begun,
    lock_folder,
    record_made_with,
    restore_previous,
    run_output,
    start_run,
)
from tests.core.test_owner import elsewhere, write_owner
from tests.crash import crash_states
from tests.training.common.test_checkpoint import RUN, SIZE, folder, save

__all__ = ["folder"]  # a fixture


@pytest.fixture
def vision():
    return new_tower(SiglipVisionConfig(**SIZE, num_attention_heads=2, patch_size=8), seed=1)


def test_an_overwritten_run_is_deleted_by_the_first_checkpoint_and_can_be_restored(vision, folder):
    save(folder, 7, vision)
    other = Run("train-encoder", {"lr": 0.2}, "1")

    start_run(folder, other, overwrite=True)
    assert load_checkpoint(folder) is None
    restore_previous(folder)
    assert load_checkpoint(folder)[1]["step"] == 7
    assert json.loads((folder / "run.json").read_text())["run"] == RUN.key

    start_run(folder, other, overwrite=True)
    save(folder, 3, vision)
    assert load_checkpoint(folder)[1]["step"] == 3
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def go_on(folder, vision, overwrite=False):
    """What the same command does, once with --resume if it is told to."""
    is_refused = is_begun(folder) and not overwrite
    check_run_folder(folder, RUN, resume=is_refused, overwrite=overwrite, force=False)
    start_run(folder, RUN, overwrite=overwrite)
    delete_replaced(folder)
    for step in (1, 2, 3):
        if not checkpoint_path(folder, step).exists():
            save(folder, step, vision)
        else:
            publish_checkpoint(folder, step)
    with run_output(folder / "encoder") as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("finished")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_killed_anywhere_goes_on_to_the_same_files(tmp_path, vision, monkeypatch, overwrite):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # what a process leaves needs no disk
    whole = tmp_path / "whole"
    if overwrite:
        start_run(whole, Run("train-encoder", {"lr": 0.2}, "1"), overwrite=False)
        save(whole, 7, vision)

    states = crash_states(whole, lambda: go_on(whole, vision, overwrite))

    assert len(states) > 10
    for state in states:
        go_on(state, vision, overwrite)
        assert contents(state) == contents(whole)


def contents(folder):
    """Files and links with their content, and folders."""
    return {
        str(path.relative_to(folder)): path.readlink()
        if path.is_symlink()
        else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("renames", range(7))
@pytest.mark.parametrize("restoring", [False, True])
def test_an_overwritten_run_survives_a_kill_at_any_rename(
    vision, folder, monkeypatch, renames, restoring
):
    save(folder, 7, vision)
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    other = Run("train-encoder", {"lr": 0.2}, "1")
    left, originals = [renames], {name: getattr(Path, name) for name in ("rename", "replace")}

    def killed(name):
        def rename(self, target):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return originals[name](self, target)

        return rename

    if restoring:
        start_run(folder, other, overwrite=True)
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        for name in originals:
            patch.setattr(Path, name, killed(name))
        restore_previous(folder) if restoring else start_run(folder, other, overwrite=True)

    check_run_folder(folder, other, resume=False, overwrite=True, force=False)
    start_run(folder, other, overwrite=True)
    assert load_checkpoint(folder) is None
    restore_previous(folder)
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before
    assert load_checkpoint(folder)[1]["step"] == 7


def test_a_run_can_be_resumed_after_its_replacement_was_killed_early(vision, folder):
    save(folder, 7, vision)
    start_run(folder, Run("train-encoder", {"lr": 0.2}, "1"), overwrite=True)

    check_run_folder(folder, RUN, resume=True, overwrite=False, force=False)
    start_run(folder, RUN, overwrite=False)

    assert load_checkpoint(folder)[1]["step"] == 7
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    with pytest.raises(MegastyleError, match="other options"):
        check_run_folder(
            folder,
            Run("train-encoder", {"lr": 0.3}, "1"),
            resume=True,
            overwrite=False,
            force=False,
        )


def test_a_usage_error_after_a_checkpoint_deletes_nothing(vision, folder):
    start_run(folder, RUN, overwrite=True)
    save(folder, 3, vision)
    restore_previous(folder)
    assert load_checkpoint(folder)[1]["step"] == 3


def test_a_symbolic_link_to_a_folder_remains(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    start_run(link, RUN, overwrite=False)
    restore_previous(link)
    assert link.is_symlink() and not list(link.iterdir())


def test_a_start_without_a_checkpoint_leaves_nothing(folder):
    restore_previous(folder)
    assert not folder.exists()


def test_a_failed_write_keeps_the_old_file(tmp_path):
    final = tmp_path / "file"
    final.write_text("before")

    with (
        pytest.raises(MegastyleError, match="could not be written: no space left") as error,
        run_output(final) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    assert error.value.exit_code == 1 and final.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_temporary_files_of_a_killed_run_are_removed_at_the_next_start(folder):
    (folder / "checkpoints" / ".step-00000007.tmp").mkdir()
    (folder / ".encoder.pth.tmp").write_text("half")

    start_run(folder, RUN, overwrite=False)

    assert not list(folder.rglob("*.tmp"))


def test_two_processes_cannot_train_in_one_folder(folder):
    with (
        lock_folder(folder),
        pytest.raises(MegastyleError, match="another process is training"),
        lock_folder(folder),
    ):
        pass

    with lock_folder(folder) as owner:  # the lock ended with its holder
        assert (folder / "run.json").exists() and not is_begun(folder / "checkpoints")
        owner.check()
    assert not owner.path.exists()


def test_a_process_that_trains_elsewhere_is_named_and_one_that_fell_silent_is_replaced(folder):
    (folder / "metrics.jsonl").write_text('{"step":1}\n')
    write_owner(folder / "run.json", elsewhere())
    with (
        pytest.raises(MegastyleError, match=r"is training in .*: Slurm job 12_3 on") as caught,
        lock_folder(folder),
    ):
        pass
    assert caught.value.exit_code == TRY_AGAIN

    write_owner(folder / "run.json", elsewhere(), age_s=7200)
    with (folder / "metrics.jsonl").open("a") as stopped, lock_folder(folder):
        stopped.write('{"step":2}\n')

    assert (folder / "metrics.jsonl").read_text() == '{"step":1}\n'


def test_the_owner_is_no_part_of_a_run(tmp_path):
    folder = tmp_path / "run"
    with lock_folder(folder):
        assert not is_begun(folder)
        start_run(folder, RUN, overwrite=True)
        restore_previous(folder)

    assert not folder.exists()


def test_changed_options_are_listed(folder):
    other = Run("train-encoder", {"lr": 0.2}, "1")

    with pytest.raises(MegastyleError, match=r"lr was 0\.1 and is 0\.2"):
        check_run_folder(folder, other, resume=True, overwrite=False, force=False)
    check_run_folder(folder, other, resume=True, overwrite=False, force=True)
    check_run_folder(folder, RUN, resume=True, overwrite=False, force=False)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"run": 5}'])
def test_a_damaged_run_file_is_named(folder, content):
    start_run(folder, RUN, overwrite=False)
    (folder / "run.json").write_bytes(content)

    with pytest.raises(MegastyleError, match="run.json is damaged"):
        check_run_folder(folder, RUN, resume=True, overwrite=False, force=False)


def test_what_a_start_was_made_with_is_recorded_and_the_previous_returned(folder):
    assert record_made_with(folder, {"model": "a"}) == {}
    assert record_made_with(folder, {"model": "b"}) == {"model": "a"}

    facts = json.loads((folder / "run.json").read_text())
    assert facts["made_with"] == {"model": "b"} and facts["run"] == RUN.key
