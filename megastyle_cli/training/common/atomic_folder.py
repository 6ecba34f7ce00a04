"""Files and folders of a training run, complete or absent; a full disk ends the run with a hint."""

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from megastyle_cli.core.atomic_file import atomic_path
from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.tensor_files import apply_umask


def write_whole(final: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` make a file, folder or link beside `final`, then renames it; see `atomic_path`.

    Raises MegastyleError with exit code 1 if it cannot be written, as when the disk is full.
    """
    try:
        with atomic_path(final, durable=True) as aside:
            write(aside)
            if not aside.is_symlink():
                for path in [*aside.rglob("*"), aside]:
                    if path.is_file():
                        apply_umask(path)
    except (OSError, SafetensorError) as fault:  # safetensors' own for a disk that is full
        reason = getattr(fault, "strerror", None) or str(fault).partition("\n")[0]
        raise MegastyleError(
            f"{final} could not be written: {reason.lower()}",
            hint="make room and go on with --resume",
            exit_code=UNEXPECTED,
        ) from fault


def write_text(path: Path, text: str) -> None:
    """As `Path.write_text`, without its answer: what `write_whole` wants of a function."""
    path.write_text(text)
