"""Checks of what a training needs, made without starting it: for --dry-run.

`doctor -- train-encoder ...` shows the same. The checks call what the training itself calls.
"""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from megastyle_cli.core.check import Check, as_table, failed, is_complete
from megastyle_cli.core.errors import DONE, USAGE, MegastyleError
from megastyle_cli.core.record import Run
from megastyle_cli.training.common.checkpoint import KEPT
from megastyle_cli.training.common.config import RunOptions, TrainingConfig
from megastyle_cli.training.common.memory_plan import FLOAT, MemoryPlan, format_bytes
from megastyle_cli.training.common.optimizer import MOMENT_BYTES
from megastyle_cli.training.common.run_folder import check_run_folder

TOPIC = "Ready to start"


def report_checks(checks: Iterable[Check]) -> int:
    """Prints the checks on stderr, for the first rank; the exit code: 2 if something is missing."""
    found = list(checks)
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.write(as_table(found))
    return DONE if is_complete(found) else USAGE


def check_output(run: Run, folder: Path, options: RunOptions) -> Check:
    """Whether a run with these options may write to `folder`."""
    try:
        check_run_folder(
            folder, run, resume=options.resume, overwrite=options.overwrite, force=options.force
        )
    except MegastyleError as error:
        return failed(TOPIC, "output", error)
    nearest = existing_parent(folder)
    if os.access(nearest, os.W_OK | os.X_OK):
        return Check(topic=TOPIC, name="output", text=f"{folder} is writable")
    text = f"{folder}: {nearest} is not writable"
    return Check(topic=TOPIC, name="output", text=text, ok=False, fix="check permissions")


def check_weights(model: str, path: Path, files: Sequence[Path]) -> Check:
    """The weights that were found for `model`; none where it is a config."""
    if not files:
        return Check(topic=TOPIC, name="weights", text=f"{path}: new, random weights from --seed")
    size = format_bytes(sum(file.stat().st_size for file in files))
    where = "" if str(path) == model else f", in {path}"
    return Check(topic=TOPIC, name="weights", text=f"{model}: {size}{where}")


def check_memory(plan: MemoryPlan, hint: str) -> Check:
    """The memory plan; the check fails if it is not expected to fit."""
    return Check(
        topic=TOPIC,
        name="memory",
        text=plan.sentence,
        ok=plan.fits,
        fix="" if plan.fits else hint,
    )


def check_disk(folder: Path, config: TrainingConfig, trained: int) -> Check:
    """Whether the disk has space for the checkpoints and the weights of `trained` parameters."""
    state = trained * (FLOAT * (1 + bool(config.ema)) + MOMENT_BYTES[config.optimizer])
    needed = round((KEPT + 1) * state + 2 * FLOAT * trained)  # one more while it replaces another
    free = shutil.disk_usage(existing_parent(folder)).free
    return Check(
        topic=TOPIC,
        name="disk",
        text=f"about {format_bytes(needed)} for checkpoints and the result, of"
        f" {format_bytes(free)} free",
        ok=free > needed,
        fix="" if free > needed else "make room, or give -o on another disk",
    )


def existing_parent(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())
