"""`--pack` of both trainers: packs images into shards, with progress, errors file and exit code."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import read_records
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.runner.progress import Progress, Stats, last_sentence, say
from megastyle_cli.runner.signals import stop_signals
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.metrics_log import ERRORS_FILE, MetricsLog
from megastyle_cli.training.encoder.shards import pack


def pack_images(
    names: Sequence[str],
    folder: Path,
    *,
    command: str,
    label: str | None,
    side_px: int,
    options: RunOptions,
    tolerance: Tolerance,
    quiet: bool,
) -> int:
    """Packs the images in the inputs `names` into shards in `folder`; returns the exit code.

    `label` and `side_px` are those of `pack`.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError("--pack runs in one process", hint="run --pack without accelerate")
    stats = Stats(command)
    results = pack(
        read_records(list(names), limit=options.limit),
        folder,
        label=label,
        side_px=side_px,
        resume=options.resume,
        overwrite=options.overwrite,
    )
    (folder / ERRORS_FILE).unlink(missing_ok=True)  # records that failed are tried again
    errors = MetricsLog(folder, command, is_writing=True)
    progress = Progress(stats, quiet=quiet, to_stdout=False)
    with stop_signals() as stop, closing(errors), closing(progress):
        for result in results:
            stats.add(result)
            if isinstance(result, Failure):
                errors.log_failure(result)
            progress.show()
            if stop.requested:
                break
    if not quiet:
        say(last_sentence(stats, folder / ERRORS_FILE))
    if stop.requested:
        if not quiet:
            say(f"{command}: stopped by a signal; the same command with --resume continues")
        return TRY_AGAIN
    return DONE if tolerance.allows(stats.num_failed, stats.read) else TOO_MANY_FAILURES
