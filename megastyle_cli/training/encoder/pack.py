"""`train-encoder --pack`: pictures to shards, with the progress and the last words around it."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.inputs import read_records
from megastyle_cli.runner.progress import Progress, Stats, last_sentence, say
from megastyle_cli.runner.signals import stop_signals
from megastyle_cli.training.common.metrics_log import Journal
from megastyle_cli.training.encoder.shards import pack

COMMAND = "train-encoder"


def pack_pictures(
    names: Sequence[str],
    folder: Path,
    *,
    limit: int | None,
    label: str,
    resume: bool,
    overwrite: bool,
    may_fail: Callable[[int, int], bool],
    quiet: bool,
) -> int:
    """Packs the pictures that `names` hold into shards in `folder`, and gives the exit code.

    `may_fail(failed, read)` says whether so many failures are tolerated.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise MegastyleError("one process packs", hint="start --pack without accelerate")
    tally = Stats(COMMAND)
    packed = pack(
        read_records(list(names), limit=limit),
        folder,
        label=label,
        resume=resume,
        overwrite=overwrite,
    )
    (folder / "errors.jsonl").unlink(missing_ok=True)  # those records are tried again
    journal = Journal(folder, COMMAND, is_writing=True)
    progress = Progress(tally, quiet=quiet, to_stdout=False)
    with stop_signals() as stop, closing(progress):
        for result in packed:
            tally.add(result)
            if isinstance(result, Failure):
                journal.fail(result)
            progress.show()
            if stop.requested:
                break
    if not quiet:
        say(last_sentence(tally, folder / "errors.jsonl"))
    if stop.requested:
        if not quiet:
            say(f"{COMMAND}: stopped by a signal; the same command with --resume goes on")
        return TRY_AGAIN
    return DONE if may_fail(tally.num_failed, tally.read) else TOO_MANY_FAILURES
