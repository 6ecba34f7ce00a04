"""Files and folders that are whole or absent, whatever ends the process that writes them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from megastyle_cli.core.errors import UNEXPECTED, MegastyleError
from megastyle_cli.models.safetensors_file import open_up


def replace_whole(final: Path, write: Callable[[Path], None]) -> None:
    """As `write_whole`, for a folder that may be there: it stands until the new one is whole.

    Between two renames both lie beside, whole; killed there, the next call puts the old one back.
    """
    new, old = (final.with_name(f".{final.name}.{which}") for which in ("new", "old"))
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    write_whole(new, write)
    if final.exists():
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def write_whole(final: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` make a file, folder or link beside `final`, then renames it: whole or absent.

    Raises MegastyleError with exit code 1 if the disk is full; what stood there before stands.
    """
    aside = final.with_name(f".{final.name}.tmp")
    try:
        write(aside)
        if not aside.is_symlink():
            for path in [*aside.rglob("*"), aside]:
                if path.is_file():
                    open_up(path)
                _sync(path)
        aside.replace(final)
        _sync(final.parent)
    except (OSError, SafetensorError) as fault:  # safetensors' own for a disk that is full
        remove(aside)
        reason = getattr(fault, "strerror", None) or str(fault).partition("\n")[0]
        raise MegastyleError(
            f"{final} could not be written: {reason.lower()}",
            hint="make room and go on with --resume",
            exit_code=UNEXPECTED,
        ) from fault
    except BaseException:
        remove(aside)
        raise


def write_text(path: Path, text: str) -> None:
    """As `Path.write_text`, without its answer: what `write_whole` wants of a function."""
    path.write_text(text)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Deletes a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
