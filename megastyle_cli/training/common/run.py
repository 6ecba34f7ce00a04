"""Everything around a training: run folder, processes, stop signals, progress, and the summary.

with open_run(run, folder, ...) as context:
    trainer = ...(context)
    result = trainer.train()
return report_result(result, context)
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN, USAGE, MegastyleError
from megastyle_cli.core.owner import Owner
from megastyle_cli.core.record import Failure, Run, annotate
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.models.ranks import lost_rank_named
from megastyle_cli.runner.job import Tolerance
from megastyle_cli.runner.options import ReportOptions
from megastyle_cli.runner.plan import Plan
from megastyle_cli.runner.progress import Progress, Stats, duration, say
from megastyle_cli.runner.signals import StopSignal, stop_signals
from megastyle_cli.runner.stats import StatsFile
from megastyle_cli.training.common.config import RunOptions
from megastyle_cli.training.common.distributed import (
    any_rank,
    check_batch_divides,
    start_accelerator,
)
from megastyle_cli.training.common.metrics_log import ERRORS_FILE, MetricsLog
from megastyle_cli.training.common.run_folder import (
    check_run_folder,
    is_begun,
    lock_folder,
    restore_previous,
    start_run,
)

Metrics = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How far a training came, its last losses, and the finished weights if it is complete."""

    step: int
    num_steps: int
    losses: Metrics
    held_out: Metrics
    finished: Path | None


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """The environment of a training: folder, processes, logs, stop signal."""

    run: Run
    folder: Path
    accelerator: Accelerator
    metrics: MetricsLog
    stop: StopSignal
    stats: Stats
    tolerance: Tolerance
    report: ReportOptions
    owner: Owner | None = None  # of the folder, on the first rank

    def check_owner(self) -> None:
        """Raises MegastyleError (exit code 75) if another process has taken the folder over."""
        if self.owner is not None:
            self.owner.check()

    def say(self, sentence: str) -> None:
        """Prints a line for people, unless the run is quiet or this is not the first rank."""
        if not self.report.quiet:
            say(sentence)

    def should_stop(self) -> bool:
        """Whether a signal has asked any rank to stop; the same answer on all ranks."""
        return any_rank(self.stop.requested, self.accelerator)

    def log_failures(self, failures: Sequence[Failure]) -> list[Failure]:
        """Logs what could not be used on any rank; the failures that are new."""
        if not any_rank(bool(failures), self.accelerator):
            return []
        return [f for f in gather_object(list(failures)) if self.metrics.log_failure(f)]

    def has_too_many_failures(self) -> bool:
        """Whether more records are unusable than tolerated."""
        return not self.tolerance.allows(len(self.metrics.failures), self.stats.read)

    def too_many_failures(self) -> MegastyleError:
        """The error (exit 3) for more unusable records than tolerated."""
        return MegastyleError(
            f"{len(self.metrics.failures):,} records cannot be used, more than --max-errors allows",
            hint=f"see {self.folder / ERRORS_FILE}; to continue: --resume --max-errors N",
            exit_code=TOO_MANY_FAILURES,
        )

    @contextmanager
    def track_progress(self, step: int, num_steps: int) -> Iterator["StepProgress"]:
        """Shows the progress from `step` on, on the first rank."""
        stats = Stats(self.run.command, done_before=step, total=num_steps)
        is_main = self.accelerator.is_main_process
        progress = Progress(stats, quiet=self.report.quiet or not is_main, to_stdout=False)
        file = StatsFile(self.report.stats if is_main else None, self.stats)
        with closing(progress):
            shown = StepProgress(stats, progress, self.metrics, self.stats, file)
            shown.update(step, {})
            try:
                yield shown
            except BaseException:
                file.abandon()
                raise


@dataclass(frozen=True)
class StepProgress:
    """The progress of a training: `steps` as they are shown, `records` and `file` for --stats."""

    steps: Stats
    progress: Progress
    metrics: MetricsLog
    records: Stats
    file: StatsFile

    def update(self, step: int, losses: Metrics) -> None:
        """Shows that `step` updates have been made, the last one with these losses."""
        steps = self.steps
        steps.read = steps.written = step - steps.done_before
        eta_s = steps.eta_s
        steps.failed = self.records.failed = Counter(self.metrics.failures.values())
        self.records.measured = {
            "step": step,
            "steps": steps.total,
            "steps_per_s": round(steps.rate, 4),
            **({} if eta_s is None else {"eta_s": round(eta_s, 1)}),
            **losses,
        }
        self.progress.show()
        self.file.update()


@contextmanager
def open_run(
    run: Run,
    folder: Path,
    *,
    global_batch: int,
    num_read: int,
    num_used: int,
    failures: Sequence[Failure],
    options: RunOptions,
    tolerance: Tolerance,
    report: ReportOptions,
) -> Iterator[RunContext]:
    """Starts or resumes a run in `folder`; inside, the folder is locked and signals are caught.

    `failures` are the records that cannot be used, out of `num_read`. Raises MegastyleError if the
    folder may not be written to, or if there are too many failures. If the block raises a usage
    error before the first checkpoint, the folder is left as it was before.
    """
    accelerator = start_accelerator(run.command)
    check_batch_divides(global_batch, accelerator)
    stats = Stats(run.command, run.key, read=num_read, written=num_used)
    is_main = accelerator.is_main_process
    is_new = not is_begun(folder)
    check_run_folder(
        folder, run, resume=options.resume, overwrite=options.overwrite, force=options.force
    )
    accelerator.wait_for_everyone()  # no rank writes before all have checked
    with ExitStack() as stack:
        hint = "the same command with --resume continues"
        # with several ranks, none may end while the others wait for it
        is_alone = accelerator.num_processes == 1
        stop = stack.enter_context(stop_signals(at_once=is_alone, hint=hint))
        owner = None
        if is_main:
            owner = stack.enter_context(lock_folder(folder))
            start_run(folder, run, overwrite=options.overwrite)
        accelerator.wait_for_everyone()
        stack.enter_context(lost_rank_named(f"its own message says why; {hint}"))
        metrics = stack.enter_context(closing(MetricsLog(folder, run.command, is_writing=is_main)))
        context = RunContext(
            run=run,
            folder=folder,
            accelerator=accelerator,
            metrics=metrics,
            stop=stop,
            stats=stats,
            tolerance=tolerance,
            report=report,
            owner=owner,
        )
        try:
            for failure in failures:
                metrics.log_failure(failure)
            if context.has_too_many_failures():
                raise context.too_many_failures()
            yield context
        except MegastyleError as error:
            if is_main and error.exit_code == USAGE and (is_new or options.overwrite):
                restore_previous(folder)  # otherwise it would block the corrected command
            raise


def announce(command: str, summary: str, work: str, folder: Path, report: ReportOptions) -> None:
    """Prints a summary of the training data and, for a dry run, what would be done."""
    if report.dry_run:
        plan = Plan(command)
        plan.add("input", summary)
        plan.add("training", work)
        plan.add("output", f"{folder}/")
        plan.show()
    elif not report.quiet:
        say(f"{command}: {summary}")


def report_result(result: TrainingResult, context: RunContext) -> int:
    """Prints how the run ended, writes its statistics and the JSON line; returns the exit code.

    The JSON line on stdout names the finished weights; there is none if a signal ended the run.
    """
    code = DONE if result.step == result.num_steps else TRY_AGAIN
    if int(os.environ.get("RANK", 0)) > 0:
        return code
    command, stats, report = context.run.command, context.stats, context.report
    stats.failed = Counter(context.metrics.failures.values())
    stats.measured = {"step": result.step, "steps": result.num_steps}
    stats.measured |= {**result.losses, "held_out": result.held_out}
    StatsFile(report.stats, stats).finish("done" if code == DONE else "stopped")
    loss = f" \u00b7 loss {result.losses['loss']:.4f}" if result.losses else ""
    errors = f" \u2192 {context.folder / ERRORS_FILE}" if stats.num_failed else ""
    context.say(
        f"{command}: step {result.step:,} of {result.num_steps:,}{loss}"
        f" \u00b7 {stats.num_failed:,} unusable{errors} \u00b7 {duration(stats.seconds)}"
    )
    if code == TRY_AGAIN:
        context.say(f"{command}: stopped by a signal; the same command with --resume continues")
    else:
        line: dict[str, Any] = {"step": result.step, **result.losses}
        if result.held_out:
            line["held_out"] = result.held_out
        line["checkpoint"] = str(result.finished)
        sys.stdout.buffer.write(dump_line(annotate(line, command, run=context.run.key)))
    return code
