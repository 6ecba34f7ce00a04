"""The folder of a training run: options, checkpoints that are whole or absent, what went wrong.

RUN/run.json        the options, so that a resumed run is the same run
RUN/checkpoints/    step-00000100/: weights as `from_pretrained` reads them, and training.pt
RUN/latest          a link to the newest of them
RUN/metrics.jsonl   one line a step, and one for each validation
RUN/tensorboard/    the same for TensorBoard, where it is installed
RUN/errors.jsonl    pictures that could not be used
RUN/stopped         there while a signal has ended it early: launchers make 1 of exit code 75
RUN/encoder/        the finished encoder, and in it encoder.pth, the official layout
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import SiglipVisionModel

from megastyle_cli.core.atomic_file import move_into_place, remove
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.models.encoders.siglip_vision import save_folder, save_official
from megastyle_cli.models.tensor_files import read_weights, write_torch
from megastyle_cli.training.common.atomic_folder import (
    write_text,
    write_whole,
)

STOPPED = "stopped"
BEFORE = ".before"  # what is overwritten, until a checkpoint takes its place
MOVING = ".moving"  # the same while it is moved there or back
KEPT = 2  # older checkpoints are deleted: one of so400m takes 5 GB


def refuse_run(folder: Path, run: Run, *, resume: bool, overwrite: bool, force: bool) -> None:
    """Raises MegastyleError unless a run with these options may write to `folder`.

    Only looks, so that every rank comes to the same answer.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    found = [told for place in (folder, folder / MOVING, folder / BEFORE) if (told := _told(place))]
    if not found:
        raise MegastyleError(f"{folder} exists and is not of this command", hint="give another -o")
    if not (resume or overwrite):
        raise MegastyleError(
            f"{folder} exists", hint="add --resume to continue it or --overwrite to start again"
        )
    # those aside are of a run that a start without a checkpoint was to take the place of
    if overwrite or force or any(told["run"] == run.key for told in found):
        return
    was, now = found[0]["options"], run.options
    changed = [
        f"{name} was {was.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    raise MegastyleError(
        f"{folder} was made with other options: {'; '.join(changed)}",
        hint="repeat the options, or --overwrite to start again, or --force to mix the two",
    )


def _told(folder: Path) -> dict[str, Any]:
    """What the run.json in a folder says; nothing if there is none."""
    path = folder / "run.json"
    told: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return told


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Inside, the folder is ours. Raises MegastyleError if another process is training in it.

    The lock ends with the process, however it ends, and nothing waits for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise MegastyleError(
            f"another process is training in {folder}", hint="wait for it, or give another -o"
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(handle)


def start_run(folder: Path, run: Run, *, overwrite: bool) -> None:
    """The folder with its options in it; to overwrite, what stands there is put aside first.

    The first checkpoint deletes it, `put_back` does the opposite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in list(folder.glob("**/.*.tmp")):  # left by a run that was killed
        remove(path)
    if (folder / MOVING).exists():
        _move_back(folder)
    begun, before = (_told(place).get("run") for place in (folder, folder / BEFORE))
    if (folder / BEFORE).exists() and (overwrite or not begun or before == run.key != begun):
        put_back(folder)  # nothing came of the start that was killed
    if overwrite:
        _put_aside(folder)
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / STOPPED).unlink(missing_ok=True)
    facts = {"command": run.command, "run": run.key, "version": run.version, "options": run.options}
    told = folder / "run.json"
    if told.exists():
        facts = {**json.loads(told.read_text()), **facts}
    write_whole(told, lambda path: _write_json(path, facts))


def put_back(folder: Path) -> None:
    """The folder as it was before a start that made no checkpoint: gone, or with the earlier run.

    With a checkpoint it stays as it is.
    """
    if (folder / "latest").exists():
        return
    for path in list(folder.iterdir()):
        if path.name != BEFORE:
            remove(path)
    if (folder / BEFORE).exists():
        move_into_place(folder / BEFORE, folder / MOVING, durable=False)
        _move_back(folder)
    elif not folder.is_symlink():
        folder.rmdir()


def _put_aside(folder: Path) -> None:
    """Moves all to BEFORE; killed at any moment, `_move_back` or `put_back` undoes it."""
    standing = list(folder.iterdir())
    if not standing:
        return
    (folder / MOVING).mkdir()
    for path in standing:
        move_into_place(path, folder / MOVING / path.name, durable=False)
    move_into_place(folder / MOVING, folder / BEFORE, durable=False)


def _move_back(folder: Path) -> None:
    for path in list((folder / MOVING).iterdir()):
        move_into_place(path, folder / path.name, durable=False)
    (folder / MOVING).rmdir()


def note_facts(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Adds `facts` to run.json under `made_with`, and gives those that stood there before."""
    told = json.loads((folder / "run.json").read_text())
    before: dict[str, Any] = told.get("made_with", {})
    told["made_with"] = facts
    write_whole(folder / "run.json", lambda path: _write_json(path, told))
    return before


def mark_stopped(folder: Path) -> None:
    """Leaves word that a signal ended the training, and that --resume goes on."""
    (folder / STOPPED).touch()


def save_checkpoint(
    folder: Path, step: int, write_weights: Callable[[Path], None], state: dict[str, Any]
) -> Path:
    """Writes the checkpoint of a step, points `latest` at it, and deletes all but KEPT.

    `write_weights` is given the checkpoint's folder.
    """

    def write(aside: Path) -> None:
        aside.mkdir()
        write_weights(aside)
        write_torch({**state, "step": step}, aside / "training.pt")

    made = folder / "checkpoints" / f"step-{step:08}"
    if not made.exists():  # a signal may come right after a step that was saved anyway
        write_whole(made, write)
    write_whole(folder / "latest", lambda path: path.symlink_to(made.relative_to(folder)))
    for old in sorted((folder / "checkpoints").glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    shutil.rmtree(folder / BEFORE, ignore_errors=True)
    return made


def load_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder and the state, on the CPU, of a run's newest checkpoint; None if none is."""
    latest = folder / "latest"
    if not latest.exists():
        return None
    return latest, read_weights(latest / "training.pt")


def export(folder: Path, vision: SiglipVisionModel, dtype: torch.dtype) -> Path:
    """The finished encoder: RUN/encoder/ in float32, and in it encoder.pth in `dtype`."""

    def write(aside: Path) -> None:
        aside.mkdir()
        save_folder(vision, aside)
        save_official(vision, aside / "encoder.pth", dtype)

    write_whole(folder / "encoder", write)
    return folder / "encoder"


def _write_json(path: Path, told: Any) -> None:
    write_text(path, json.dumps(told, indent=1) + "\n")
