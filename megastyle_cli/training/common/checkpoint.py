"""Checkpoints of a training run: saved atomically, the newest ones kept, the newest read back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from megastyle_cli.core.atomic_file import remove
from megastyle_cli.core.errors import MegastyleError, first_line, is_out_of_memory
from megastyle_cli.models.tensor_files import read_weights, write_torch
from megastyle_cli.training.common.run_folder import delete_previous, run_output

KEPT = 2  # older checkpoints are deleted: one of so400m takes 5 GB


def checkpoint_path(folder: Path, step: int) -> Path:
    """The folder of a step's checkpoint, whether or not it exists."""
    return folder / "checkpoints" / f"step-{step:08}"


@contextmanager
def new_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Iterator[Path]:
    """The folder of a new checkpoint, for the block to write the weights to.

    When the block ends, `state` is added as training.pt and the checkpoint gets its name.
    """
    with run_output(checkpoint_path(folder, step)) as temporary:
        temporary.mkdir()
        yield temporary
        write_torch({**state, "step": step}, temporary / "training.pt")


def publish_checkpoint(folder: Path, step: int) -> None:
    """Points `latest` to a step's checkpoint and deletes what it replaces."""
    with run_output(folder / "latest") as link:
        link.symlink_to(checkpoint_path(folder, step).relative_to(folder))
    delete_replaced(folder)


def delete_replaced(folder: Path) -> None:
    """Deletes all but the newest KEPT checkpoints, and a run that this one overwrites."""
    for old in sorted((folder / "checkpoints").glob("step-*"))[:-KEPT]:
        remove(old)
    delete_previous(folder)


def load_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder and the state, on the CPU, of a run's newest checkpoint; None if there is none."""
    latest = folder / "latest"
    if not latest.exists():
        return None
    return latest, read_weights(latest / "training.pt")


@contextmanager
def damaged_checkpoint_named(saved: Path) -> Iterator[None]:
    """What the block raises because the checkpoint in `saved` does not fit, as MegastyleError."""
    try:
        yield
    except (
        *(KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError),
        FileNotFoundError,
    ) as error:
        if is_out_of_memory(error):
            raise
        raise MegastyleError(
            f"{saved.resolve()} is damaged or belongs to another run: {first_line(error)}",
            hint="point `latest` to the previous checkpoint, or start again with --overwrite",
        ) from error
