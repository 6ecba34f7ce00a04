"""A run to train in, without the command around it."""

from pathlib import Path

from accelerate import Accelerator

from megastyle_cli.core.owner import Owner
from megastyle_cli.core.record import Run
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.runner.options import ReportOptions
from megastyle_cli.runner.progress import Stats
from megastyle_cli.runner.signals import StopSignal
from megastyle_cli.training.common.metrics_log import MetricsLog
from megastyle_cli.training.common.run import RunContext


def run_context(
    folder: Path,
    command: str,
    max_errors: str = "0",
    num_read: int = 0,
    accelerator: Accelerator | None = None,
    owner: Owner | None = None,
) -> RunContext:
    """The context of a quiet run in an existing folder, by default on the CPU."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    return RunContext(
        run=Run(command, {}, "1"),
        folder=folder,
        accelerator=accelerator or Accelerator(cpu=True),
        metrics=MetricsLog(folder, command, is_writing=True),
        stop=StopSignal(),
        stats=Stats(command, read=num_read),
        tolerance=Tolerance.parse(max_errors),
        report=ReportOptions(quiet=True),
        owner=owner,
    )
