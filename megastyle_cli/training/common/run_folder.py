"""The folder of a training run: options, checkpoints, metrics, errors and finished weights.

RUN/run.json        the options, so that a resumed run is the same run
RUN/checkpoints/    step-00000100/: weights as `from_pretrained` reads them, and training.pt
RUN/latest          a link to the newest checkpoint
RUN/metrics.jsonl   one line per step, and one per validation
RUN/tensorboard/    the same for TensorBoard, where it is installed
RUN/errors.jsonl    images that could not be used
RUN/.run.json.owner  the process that trains here: see core/owner.py
RUN/stopped         exists after a signal ended the run early: launchers turn exit code 75 into 1
RUN/encoder/        the finished encoder, and in it encoder.pth, the official layout
RUN/lora/, flux/    the finished LoRA, or the whole model
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from megastyle_cli.core.atomic_file import atomic_path, is_temporary, move_into_place, remove
from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.locked_file import copy_in_place, lock
from megastyle_cli.core.owner import Owner, Patience, acquire, is_owner_file, owner_path
from megastyle_cli.core.record import Run
from megastyle_cli.models.tensor_files import apply_umask

STOPPED, RUN_FILE = "stopped", "run.json"
PREVIOUS = ".before"  # an overwritten run, until a checkpoint replaces it
MOVING = ".moving"  # the same while it is moved there or back


def check_run_folder(folder: Path, run: Run, *, resume: bool, overwrite: bool, force: bool) -> None:
    """Raises MegastyleError unless a run with these options may write to `folder`.

    It changes nothing, so that every rank comes to the same answer.
    """
    if not is_begun(folder):
        return
    subfolders = (folder, folder / MOVING, folder / PREVIOUS)
    existing = [facts for subfolder in subfolders if (facts := _read_facts(subfolder))]
    if not existing:
        raise MegastyleError(
            f"{folder} exists but was not written by this command", hint="give another -o"
        )
    if not (resume or overwrite):
        raise MegastyleError(
            f"{folder} exists", hint="add --resume to continue it or --overwrite to start again"
        )
    # a run in a subfolder was to be replaced by a start that was killed before its first checkpoint
    if overwrite or force or any(facts["run"] == run.key for facts in existing):
        return
    run.check_same_as(existing[0], folder)


def is_begun(folder: Path) -> bool:
    """Whether a run has begun in `folder`: it holds more than a start killed at once leaves."""
    if not folder.is_dir():
        return folder.exists()
    return any(not _is_left_over(path) for path in folder.iterdir())


@contextmanager
def lock_folder(folder: Path) -> Iterator[Owner]:
    """Makes the folder, and this process its owner.

    Raises MegastyleError (exit code 75) if another process is training in it and does not end
    within a bounded wait.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = acquire(folder, "training in", owner_path(folder / RUN_FILE))
    handle = os.open(folder, os.O_RDONLY)
    try:
        patience = Patience("training in", folder)
        while not lock(handle):
            patience.wait("it holds a lock on the folder")
        if owner.is_takeover:
            for path in folder.glob("*.jsonl"):
                copy_in_place(path)
        yield owner
    finally:
        os.close(handle)
        owner.release()
        if not folder.is_symlink() and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # `restore_previous` left it to the end of the lock


def start_run(folder: Path, run: Run, *, overwrite: bool) -> None:
    """Makes the folder with the run's options; to overwrite, an existing run is moved aside first.

    The first checkpoint deletes that run, `restore_previous` brings it back.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.glob("**/.*.tmp")):  # left by a run that was killed
        remove(path)
    if (folder / MOVING).exists():
        _move_back(folder)
    current, previous = (_read_facts(path).get("run") for path in (folder, folder / PREVIOUS))
    is_other_run = previous == run.key != current
    if (folder / PREVIOUS).exists() and (overwrite or not current or is_other_run):
        restore_previous(folder)  # the start that was killed made no checkpoint
    if overwrite:
        _move_aside(folder)
    facts = {"command": run.command, "run": run.key, "version": run.version, "options": run.options}
    _write_facts(folder, {**_read_facts(folder), **facts})  # first: it marks the run as begun
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / STOPPED).unlink(missing_ok=True)


def restore_previous(folder: Path) -> None:
    """Undoes a start that made no checkpoint: restores the earlier run, or deletes the folder.

    If there is a checkpoint, nothing changes.
    """
    if (folder / "latest").exists():
        return
    # run.json last: while anything is left, the folder is known to be ours
    for path in sorted(folder.iterdir(), key=lambda path: path.name == RUN_FILE):
        if path.name != PREVIOUS and not is_owner_file(path):
            remove(path)
    if (folder / PREVIOUS).exists():
        move_into_place(folder / PREVIOUS, folder / MOVING)
        _move_back(folder)
    elif not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def delete_previous(folder: Path) -> None:
    """Deletes the overwritten run, if there was one."""
    remove(folder / PREVIOUS)


def mark_stopped(folder: Path) -> None:
    """Records that a signal ended the training early, and that --resume continues it."""
    (folder / STOPPED).touch()


def record_made_with(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Writes `facts` to run.json under `made_with`; returns those of the previous start."""
    stored = _read_facts(folder)
    before = stored.get("made_with")
    _write_facts(folder, {**stored, "made_with": facts})
    return before if isinstance(before, dict) else {}


@contextmanager
def run_output(final: Path) -> Iterator[Path]:
    """A path for a file, folder or link of the run, renamed to `final` at the end: `atomic_path`.

    Raises MegastyleError with exit code 1 if it cannot be written, such as when the disk is full.
    """
    try:
        with atomic_path(final, replaces_link=True) as temporary:
            yield temporary
            if not temporary.is_symlink():
                for path in [*temporary.rglob("*"), temporary]:
                    if path.is_file():
                        apply_umask(path)
    except (OSError, SafetensorError) as error:  # safetensors has its own error for a full disk
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise MegastyleError(
            f"{final} could not be written: {reason.lower()}",
            hint="make room and continue with --resume",
            exit_code=UNEXPECTED,
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes a text file of the run atomically."""
    with run_output(path) as temporary, temporary.open("x") as file:
        file.write(text)


def _move_aside(folder: Path) -> None:
    """Moves everything to PREVIOUS; `_move_back` or `restore_previous` undoes it after a kill."""
    existing = [path for path in folder.iterdir() if not is_owner_file(path)]
    if not existing:
        return
    (folder / MOVING).mkdir()
    for path in existing:
        move_into_place(path, folder / MOVING / path.name)
    move_into_place(folder / MOVING, folder / PREVIOUS)


def _move_back(folder: Path) -> None:
    for path in list((folder / MOVING).iterdir()):
        move_into_place(path, folder / path.name)
    (folder / MOVING).rmdir()


def _read_facts(folder: Path) -> dict[str, Any]:
    """The content of the run.json in a folder; empty if there is none."""
    path = folder / RUN_FILE
    return read_object(path, hint="give another -o", run=str) if path.exists() else {}


def _is_left_over(path: Path) -> bool:
    is_empty = path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    return is_empty or is_temporary(path) or is_owner_file(path)


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    write_text(folder / RUN_FILE, json.dumps(facts, indent=1) + "\n")
