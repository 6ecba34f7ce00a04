"""Commands that read everything before they write; an old output stays until then."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from megastyle_cli.core.atomic_file import (
    AtomicFile,
    check_new,
    delete_stale_note,
    is_uncommitted,
)
from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.core.file_kind import is_stream
from megastyle_cli.core.record import Failure, Record, Run, batched
from megastyle_cli.core.shard import Shard, rank_and_world
from megastyle_cli.io.output_paths import output_paths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.temporary_files import Spool
from megastyle_cli.io.writers.sink import Sink, atomic_sink
from megastyle_cli.io.writers.stream import Stream, atomic_output
from megastyle_cli.runner.job import (
    Check,
    Job,
    Source,
    check_writable,
    checked,
    output_files,
)
from megastyle_cli.runner.options import (
    OutputOptions,
    ReplaceOptions,
    ReportOptions,
    ResumeOptions,
)
from megastyle_cli.runner.signals import stop_signals

if TYPE_CHECKING:
    from megastyle_cli.compute.string_array import StringArray

_SHOWN_EVERY = 1024  # records
log = logging.getLogger(__name__)


class CollectJob(Job):
    """All records are collected on disk, then the results are written.

        with CollectJob(run, source, ...) as job:
            records = job.collect()
            job.write(pairs(records))
        return job.exit_code

    A signal or an error leaves the earlier output in place.
    """

    spool: Spool

    def __init__(
        self,
        run: Run,
        source: Source,
        *,
        output: OutputOptions,
        existing: ReplaceOptions | ResumeOptions,
        report: ReportOptions,
        keeps_records: bool = False,
        line: Callable[[Record], bytes] = dump_line,
        is_summary: bool = False,
        has_ranks: bool = False,
    ) -> None:
        """`line` is how a record is written; a summary is one record, which may be a .json file.

        `has_ranks` says that this may be the first process of a launcher, which the others work
        for.
        """
        if not has_ranks and rank_and_world() != (0, 1):
            raise MegastyleError(
                f"{run.command} needs all records in one process",
                hint="start it without accelerate",
            )
        super().__init__(
            run,
            source,
            output_paths(
                output.output,
                Shard(),
                folder=False,
                errors=output.errors,
                is_summary=is_summary,
            ),
            Shard(),
            output=output,
            existing=existing,
            report=report,
            keeps_records=keeps_records,
        )
        self._line = line
        self._side_outputs: list[AtomicFile | Stream] = []

    def side_outputs(self, *names: str | Path | None) -> list[AtomicFile | Stream | None]:
        """Other outputs of the run, None where there is no name: they appear with the output.

        Raises MegastyleError now, not after hours of work, if one could not be written. The job
        locks them when it starts. Write records with `write_to`.
        """
        paths = [Path(name) if name else None for name in names]
        named = [path for path in paths if path]
        finals = [path for path in (*named, self.paths.final) if path and not is_stream(path)]
        last = finals[-1] if finals else None
        if last and not self.report.dry_run:
            delete_stale_note(last)
        taken = {path.absolute() for path in (*output_files(self.paths), self.report.stats) if path}
        for path in named:
            if str(path) == "-" or path.absolute() in taken:
                raise MegastyleError(f"{path} is an output already", hint="give another name")
            if not (self.existing.overwrite or is_stream(path) or is_uncommitted(path, last)):
                check_new(path)
            check_writable(path)
            taken.add(path.absolute())
        files = [atomic_output(path, overwrite=True) if path else None for path in paths]
        self._side_outputs += filter(None, files)
        return files

    def write_to(self, output: AtomicFile | Stream, results: Iterable[Record | bytes]) -> None:
        """Writes records, and lines of records, to a side output."""
        name = str(output.name if isinstance(output, Stream) else output.final)
        paths = replace(output_paths(name, Shard(), folder=False), errors=None)
        sink = Sink(paths, self.run, output, None, run_file_first=False)
        for result in results:
            sink.write(result)

    def collect(self, check: Check | None = None) -> Spool:
        """All records for which `check` does not raise BadRecord; the others become failures."""
        for batch in batched(self._found(), 1024):
            for result in (checked(found, check) for found in batch):
                self.stats.add(result)
                if isinstance(result, Failure):
                    self.sink.write(result)
                else:
                    self.spool.add(result)
            self.progress.show()
        self.stats.written = 0
        return self.spool

    def as_found(self) -> Iterator[Record | Failure]:
        """The records as the inputs have them: without ids, and no picture is opened."""
        for each in self._placed:
            self.stats.read += 1
            yield each.found
            if self.stats.read % _SHOWN_EVERY == 0:
                self.progress.show()

    def has_records(self) -> bool:
        """Collects all records into `spool`; whether there are any."""
        return len(self.collect()) > 0

    def collect_texts(self, key: str, check: Check) -> "Iterator[StringArray]":
        """As `collect`, and yields the texts under `key` of the records, thousands at a time.

        The records are in `spool` afterwards.
        """
        from megastyle_cli.io.raw_jsonl.batches import read_batches  # imports a compiler

        for block in read_batches(self.source.inputs, key, check, self.existing.limit):
            for failure in block.failures:
                self.stats.add(failure)
                self.sink.write(failure)
            self.stats.read += len(block)
            self.spool.extend(block.lines, block.is_plain)
            yield block.texts
            self.progress.show()

    def collect_objects(self, wanted: Sequence[str], check: Check) -> list[str]:
        """As `collect`, without parsing most records; the ids of the records in `spool`.

        A record that has a text under one of the `wanted` keys must pass `check`.
        """
        from megastyle_cli.io.raw_jsonl.object_batches import read_objects

        ids = list[str]()
        for batch in read_objects(self.source.inputs, wanted, check, self.existing.limit):
            for failure in batch.failures:
                self.stats.add(failure)
                self.sink.write(failure)
            self.stats.read += len(batch.ids)
            ids += batch.ids
            for lines in batch.lines:
                self.spool.extend(lines)
            self.progress.show()
        return ids

    def write(self, results: Iterable[Record | bytes | Failure]) -> None:
        """Writes records, lines of records, and records that failed after all."""
        for result in results:
            self.sink.write(result)
            if isinstance(result, Failure):
                self.stats.add_failure(result)
            else:
                self.stats.written += _count_lines(result) if isinstance(result, bytes) else 1

    @contextmanager
    def _opened(self) -> Iterator[None]:
        with (
            stop_signals(at_once=True),
            atomic_sink(
                self.paths,
                self.run,
                overwrite=self.existing.overwrite,
                line=self._line,
                side_outputs=self._side_outputs,
            ) as self.sink,
            Spool() as self.spool,
            self._shown_progress(),
        ):
            self._keep_records_of_a_stream()
            log.info("%s reads its input", self.run.command)
            yield
            # before the output gets its name: a kill in between leaves a run that can be repeated
            self.progress.finish("done")
            self.sink.commit()
        is_tolerated = self.tolerance.allows(self.stats.num_failed, self.stats.read)
        self.exit_code = DONE if is_tolerated else TOO_MANY_FAILURES


def _count_lines(lines: bytes) -> int:
    from megastyle_cli.compute.string_array import count_lines  # numpy; lines come from there

    return count_lines(lines)
