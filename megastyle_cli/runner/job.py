"""The frame of every command: checks names, reads, counts, reports, sets the exit code."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from megastyle_cli.core.atomic_file import count_ids, partial_path
from megastyle_cli.core.errors import (
    DONE,
    TOO_MANY_FAILURES,
    TRY_AGAIN,
    BadRecord,
    MegastyleError,
)
from megastyle_cli.core.failure_log import FailureLog
from megastyle_cli.core.file_kind import is_stdout, is_stream, link_target
from megastyle_cli.core.record import Failure, Record, Run, record_key, rename_pictures
from megastyle_cli.core.shard import Placed, Shard, Share
from megastyle_cli.io.inputs import count_records, read_share, records_from_lines
from megastyle_cli.io.output_paths import OutputPaths
from megastyle_cli.io.record_names import LISTING, from_folder, with_id
from megastyle_cli.io.writers.compressor import compressor_for
from megastyle_cli.io.writers.sink import Sink
from megastyle_cli.runner.hints import nothing_usable
from megastyle_cli.runner.options import (
    OutputOptions,
    PathListOptions,
    ReplaceOptions,
    ReportOptions,
    ResumeOptions,
)
from megastyle_cli.runner.plan import (
    MODEL_KEYS,
    Plan,
    describe_model,
    describe_options,
    format_size,
)
from megastyle_cli.runner.progress import Progress, Stats, duration, last_sentence, say
from megastyle_cli.runner.stats import StatsFile, measured_rate

Check = Callable[[Record], None]
Found = Record | Failure
Key = Callable[[Record], str]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The records of a run: those that flags describe, then those of the inputs."""

    inputs: Sequence[str]
    stdin: PathListOptions = PathListOptions()  # whether standard input holds names of files
    described: Sequence[Record] = ()

    def read(self, share: Share, limit: int | None) -> Generator[Placed, None, None]:
        """Those of one shard among at most `limit` records, as they are: without ids.

        Raises MegastyleError at once if an input does not exist.
        """
        separator = "\0" if self.stdin.null else "\n" if self.stdin.paths else None
        return read_share(self.inputs, share, first=self.described, limit=limit, paths=separator)

    def count(self, limit: int | None) -> int | None:
        """How many there are, if that is known without reading them."""
        return None if self.described else count_records(self.inputs, limit)


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How many failures are tolerated: `--max-errors N`, or `N%` of the records read."""

    allowed: float
    is_percentage: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises MegastyleError if `text` is neither N nor N%."""
        number = text.removesuffix("%")
        try:
            allowed = float(number) if text.endswith("%") else int(number)
            if not allowed >= 0:  # NaN too
                raise ValueError
        except ValueError:
            raise MegastyleError(
                f"--max-errors is {text!r}, not N or N%", hint="give 5 or 1%"
            ) from None
        return cls(allowed=allowed, is_percentage=text.endswith("%"))

    def allows(self, failed: int, read: int) -> bool:
        """Whether `failed` of `read` records are tolerated."""
        return failed <= (read * self.allowed / 100 if self.is_percentage else self.allowed)


class Job(AbstractContextManager["Job"]):
    """One run of a command: inside the context records are read and results written.

    Leaving it without an error gives the output its final name, writes the statistics, prints the
    last line and sets `exit_code`.
    """

    sink: Sink
    progress: Progress
    sink_key: Key | None = None  # what distinguishes records of the output, if not their ids

    def __init__(
        self,
        run: Run,
        source: Source,
        paths: OutputPaths,
        shard: Shard,
        *,
        output: OutputOptions,
        existing: ResumeOptions | ReplaceOptions,
        report: ReportOptions,
        keeps_records: bool,
        group_key: Key | None = None,
    ) -> None:
        """With `group_key` neighbours of one key are processed together, by the key's shard."""
        self.run, self.source, self.paths, self.shard = run, source, paths, shard
        self.existing, self.report, self.keeps_records = existing, report, keeps_records
        self.resumes = isinstance(existing, ResumeOptions) and existing.resume
        self.writes_to_stdout = is_stdout(output.output)
        self.tolerance = Tolerance.parse(output.max_errors)
        self.stats = Stats(run.command, run.key)
        self.exit_code = DONE
        self.group_key = group_key
        # groups are found among all records, and then divided
        self.share = Share(Shard() if group_key else shard, reads_all=existing.limit is not None)
        self._placed = source.read(self.share, existing.limit)
        self._context: AbstractContextManager[None]
        check_stats_path(report.stats, paths)
        self._check_input_is_not_output()

    def __enter__(self) -> Self:
        self._context = self._opened()
        self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            is_handled = self._context.__exit__(kind, error, trace)
        finally:
            self._placed.close()  # files that are still open after a stop or an error
        if error is None:
            self._conclude()
        return is_handled

    def records(self) -> list[Record] | None:
        """All records of the output, for a sheet or page, if `keeps_records`; else None.

        The output may be about to be committed. If it was resumed, these are more than this run
        wrote.
        """
        if not self.keeps_records or self.exit_code == TRY_AGAIN:
            return None
        if self.sink.written is not None or self.paths.final is None:
            return self.sink.written or []
        path = partial_path(self.paths.final)
        if path.exists():
            self.sink.flush()
        else:
            path = self.paths.final
        with path.open("rb") as lines:
            found = list(records_from_lines(str(self.paths.final), lines, 1))
        return [record for record in found if not isinstance(record, Failure)]

    def show_plan(self, **details: str) -> int:
        """Prints what would be done, without loading a model or writing a byte; the exit code.

        `details` are lines that only the command knows, in place of the options of these names;
        an empty one only hides its option.
        """
        final = self.paths.final
        existing = [
            path for path in (final, final and partial_path(final)) if path and path.exists()
        ]
        left = self._written_keys(existing[0]) if existing and self.resumes else Counter[str]()
        ours, is_pictures, unreadable = 0, True, FailureLog(self.run.command)
        for result in self._found():
            if not self._owns(result):
                continue
            ours += 1
            self.stats.add(result)
            if isinstance(result, Failure):
                unreadable.add(result)
            else:
                is_pictures = is_pictures and result.keys() - {"id", "text"} == {"file_name"}
            done = not isinstance(result, Failure) and is_done(result, left, self.sink_key)
            self.stats.done_before += done
        self.stats.total = ours
        to_do = ours - self.stats.done_before
        shown = {*MODEL_KEYS, *details}
        plan = Plan(self.run.command)
        plan.add("input", self._planned_input(ours, is_pictures))
        for name, text in details.items():
            plan.add(name, text)
        plan.add("model", describe_model(self.run.options))
        plan.add("options", describe_options(self.run.options, shown))
        plan.add("output", self._planned_output(existing, to_do))
        if to_do and (rate := measured_rate(self.report.stats, self.run)):
            about = duration(to_do / rate)
            plan.add("time", f"about {about} at {rate:,.1f}/s (measured here last time)")
        plan.show()
        return DONE

    def _found(self) -> Iterator[Found]:
        """What there is to read, with ids."""
        return (with_id(each.found) for each in self._placed)

    def _owns(self, result: Found) -> bool:
        """Whether what was read is of this shard: without a `group_key` nothing else is read."""
        if self.group_key is None:
            return True
        return self.shard.owns(
            record_key(result) if isinstance(result, Failure) else self.group_key(result)
        )

    def _planned_input(self, ours: int, is_pictures: bool) -> str:
        stats = self.stats
        noun = "image" if is_pictures and stats.written else "record"
        counts = []
        number = stats.read
        if self.shard.is_part:
            counts.append(f"{ours:,} in shard {self.shard.index}/{self.shard.count}")
            number = self.source.count(self.existing.limit) or ours
        if self.resumes:
            counts.append(f"{ours - stats.done_before:,} to do, {stats.done_before:,} done")
        if stats.num_failed:
            counts.append(f"{stats.num_failed:,} cannot be read")
        inputs = ["standard input" if name == "-" else name for name in self.source.inputs]
        inputs += ["--text"] if self.source.described else []
        found = f"{', '.join(inputs)}: {number:,} {noun}{'' if number == 1 else 's'}"
        return f"{found} ({'; '.join(counts)})" if counts else found

    def _planned_output(self, existing: Sequence[Path], to_do: int) -> str:
        final = self.paths.final
        if final is None:
            return str(self.paths.stream or "standard output")
        is_folder = final.name == LISTING or self.sink_key is not None  # of images, or an index
        name = f"{final.parent}/" if is_folder else str(final)
        if not existing:
            return name
        if not (self.resumes or self.existing.overwrite):
            return f"{name}: {existing[0]} exists, it needs --resume or --overwrite"
        if self.existing.overwrite or not self.stats.done_before or not to_do:
            return name
        folder = final.parent
        files = folder.rglob("*") if is_folder else existing[:1]
        size = sum(path.stat().st_size for path in files if path.is_file())
        return f"{name}, about {format_size(size * to_do / self.stats.done_before)} more"

    def _check_input_is_not_output(self) -> None:
        """Raises MegastyleError if a file beside the output, named by no option, is an input."""
        # an errors file may be read to try its records again, and is completed by that
        kept = {self.paths.errors} if self.resumes else set()
        written = [path for path in output_files(self.paths) if path.exists() and path not in kept]
        for name in filter(os.path.exists, self.source.inputs):
            for path in written:
                if path.samefile(name):
                    raise MegastyleError(f"{path} is input and output", hint="give -o another name")

    def _opened(self) -> AbstractContextManager[None]:
        """The outputs, the progress bar and the signals; leaving it without an error commits."""
        raise NotImplementedError

    @contextmanager
    def _shown_progress(self) -> Iterator[None]:
        if not self.report.quiet or self.report.stats is not None:
            total = self.source.count(self.existing.limit)
            self.stats.total = None if total is None else round(total / self.shard.count)
        self.progress = Progress(
            self.stats,
            quiet=self.report.quiet,
            to_stdout=self.writes_to_stdout,
            file=StatsFile(self.report.stats, self.stats) if self.report.stats else None,
        )
        try:
            yield
        except BaseException:
            self.progress.abandon()
            raise
        finally:
            self.progress.close()

    def _keep_records_of_a_stream(self) -> None:
        # what goes to a stream, or is compressed, cannot be read again for a sheet or page
        self.sink.written = [] if self.keeps_records and not self._is_plain_file() else None

    def _is_plain_file(self) -> bool:
        return self.paths.final is not None and not compressor_for(self.paths.final)

    def _how_to_go_on(self) -> str:
        return (
            "the same command with --resume continues" if self._is_plain_file() else "run it again"
        )

    def _written_keys(self, path: Path) -> Counter[str]:
        key = self.sink_key
        if key is None:
            return count_ids(path)
        here = from_folder(str(path.parent))
        return count_ids(path, lambda record: key(rename_pictures(record, here)))

    def _conclude(self) -> None:
        if not self.report.quiet:
            for remark in self.stats.remarks:
                say(f"{self.run.command}: {remark}")
            say(last_sentence(self.stats, self.paths.errors))
            if self.exit_code == TRY_AGAIN:
                say(f"{self.run.command}: stopped by a signal; {self._how_to_go_on()}")
        if self.exit_code == TOO_MANY_FAILURES and (error := nothing_usable(self.stats)):
            raise error


def is_done(record: Record, left: Counter[str], sink_key: Key | None) -> bool:
    """Whether a record is in the output; `left` counts the keys there that were not met yet.

    An id counts as often as it is there, since equal images have equal ids. With `sink_key` its
    key tells records apart, and of one key only the first is new.
    """
    key = record["id"] if sink_key is None else sink_key(record)
    was_there = left[key] > 0
    if sink_key is None:
        left[key] -= was_there
    else:
        left[key] = 1
    return was_there


def checked(result: Record | Failure, check: Check | None) -> Record | Failure:
    """`result`, or a Failure if it is a record for which `check` raises BadRecord."""
    if isinstance(result, Failure) or check is None:
        return result
    try:
        check(result)
    except BadRecord as bad:
        return Failure.of(result, bad)
    return result


def check_stats_path(stats: Path | None, paths: OutputPaths) -> None:
    """Raises MegastyleError if the statistics cannot be written, or would replace an output."""
    check_writable(stats)
    if stats is not None and stats.absolute() in {p.absolute() for p in output_files(paths)}:
        raise MegastyleError(f"{stats} is an output already", hint="give --stats another name")


def check_writable(path: Path | None) -> None:
    """Raises MegastyleError now, not after hours of work, if `path` cannot be made."""
    if path is None or is_stream(path):
        return
    if path.is_dir():
        raise MegastyleError(f"{path} is a directory", hint="give a file name")
    if not os.access(folder := link_target(path).parent, os.W_OK):
        raise MegastyleError(f"{folder} is not a writable folder", hint="make it first")


def output_files(paths: OutputPaths) -> list[Path]:
    """The files that a run writes, except images."""
    return [path for path in (paths.final, paths.errors, paths.run) if path]
