"""Commands that turn each record into one result: batch by batch, resumable, in input order."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from megastyle_cli.core.atomic_file import partial_path
from megastyle_cli.core.errors import (
    DONE,
    TOO_MANY_FAILURES,
    TRY_AGAIN,
    BadRecord,
    MegastyleError,
    is_out_of_memory,
)
from megastyle_cli.core.record import Failure, Record, Run, is_context_only
from megastyle_cli.core.shard import Placed, Shard
from megastyle_cli.io.output_paths import check_records_name, output_paths
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_names import with_id
from megastyle_cli.io.shard_note import write_note
from megastyle_cli.io.writers.image_dataset import ImageFormat
from megastyle_cli.io.writers.rejects_file import RejectsFile
from megastyle_cli.io.writers.sink import Sink, resumable_sink
from megastyle_cli.runner.adaptive_batch_size import AdaptiveBatchSize
from megastyle_cli.runner.done_names import DoneNames
from megastyle_cli.runner.job import Job, Key, Source, is_done
from megastyle_cli.runner.key_batches import Batch, batches_by_key, groups
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.own_shard import own_shard
from megastyle_cli.runner.signals import Stopped, StopSignal, stop_signals

log = logging.getLogger(__name__)


class MapJob(Job):
    """One result for each record that this shard owns and that is not in the output yet.

        with MapJob(run, source, ...) as job:
            if job.has_records():
                model = load(...)
                for batch in job.batches():
                    job.write(describe(batch, model))
        return job.exit_code

    A batch whose results raise is handed out again record by record, so that one bad record does
    not cost its batch; a record that raises alone becomes a Failure. A signal ends the batches, of
    which the first are small: see `AdaptiveBatchSize`.
    """

    stop: StopSignal

    def __init__(
        self,
        run: Run,
        source: Source,
        *,
        output: OutputOptions,
        existing: ResumeOptions,
        report: ReportOptions,
        batch_size: int,
        least_batch: int = 1,
        image_format: ImageFormat | None = None,
        rejects: str | None = None,
        may_reject: bool = False,
        group_key: Key | None = None,
        keeps_records: bool = False,
        sink: Sink | None = None,
        line: Callable[[Record], bytes] = dump_line,
        has_ranks: bool = False,
    ) -> None:
        """A batch has at most `batch_size` records, and `least_batch` however long that takes, if a
        model works on so many at once. `image_format` says how images are stored, if the command
        makes them. `rejects` names the file for results that a filter rejected, which `may_reject`
        says can happen. `sink` replaces the one that the options describe. `line` is how a record
        is written to a stream. `has_ranks` says that this may be the first process of a launcher,
        which has all records and which the others work for."""
        shard, self._note = Shard(), None
        if not has_ranks:
            shard, self._note = own_shard(existing.shard, existing.shard_offset, output.output)
        paths = (
            sink.paths
            if sink
            else output_paths(
                output.output, shard, folder=image_format is not None, errors=output.errors
            )
        )
        super().__init__(
            run,
            source,
            paths,
            shard,
            output=output,
            existing=existing,
            report=report,
            keeps_records=keeps_records,
            group_key=group_key,
        )
        self.batch_size = AdaptiveBatchSize(batch_size, least_batch)
        self._handed_out_s = 0.0  # when the last batch was
        self.sink_key = sink.unique_key if sink else None
        self._own_sink, self._resume, self._line = sink, existing, line
        self._output = output.output
        self._image_format = image_format
        self._rejects_path = self._path_of_rejects(rejects) if may_reject else None
        self._rejects: RejectsFile | None = None
        self._source_batches: Iterator[Batch]
        self._ready: deque[Batch] = deque()  # to be handed out before the next of the source
        self._begun: deque[Batch] = deque()  # handed out, without results so far
        self._is_exhausted = False

    def has_records(self) -> bool:
        """Whether any record remains to be processed. Until then no model needs to be loaded.

        A signal ends what follows, the loading of a model, at once.
        """
        while not self._ready:
            batch = self._next_of_source()
            if batch is None:
                return False
            if _records_of(batch):
                self._ready.append(batch)
                self.stop.at_once = True
            else:
                self._save(batch, [])
        return True

    def batches(self) -> Iterator[list[Record]]:
        """The records to process, a batch at a time; results are written in the same order."""
        self.stop.at_once = False
        self.stats.begin_work()
        while batch := self._next():
            self._begun.append(batch)
            if records := _records_of(batch):
                self._handed_out_s = time.monotonic()
                yield records
            else:
                self._save_batches_without_records()

    def write(self, results: Iterable[Record | Failure]) -> None:
        """One result for each record of the oldest batch that has none, in order.

        If they end with `Stopped`, those made before are written, and nothing after them is.
        """
        batch = self._begun.popleft()
        records = _records_of(batch)
        made: list[Record | Failure] = []
        try:
            for result in results:
                made.append(result)
        except Stopped:
            self._begun.clear()
            self._save_first(batch, made)
            return
        except (MegastyleError, OSError):
            raise  # images that cannot be read are BadRecord: this is a full disk or a bug
        except Exception as error:
            self._divide(batch, records, made, error)
        else:
            assert len(made) == len(records), "one result for each record"
            self._save(batch, made)
        self.batch_size.update(len(records), time.monotonic() - self._handed_out_s)
        self._save_batches_without_records()

    @contextmanager
    def _opened(self) -> Iterator[None]:
        if self._note and self.paths.final:
            note = replace(self._note, containers=self.share.containers)
            write_note(Path(self._output), note, self.shard.part_name)
        with (
            # at once while the outputs are opened, which may wait for another process
            stop_signals(at_once=True, hint=self._how_to_go_on()) as self.stop,
            self._own_sink or self._new_sink() as self.sink,
            self._rejects_file() as self._rejects,
            self._shown_progress(),
        ):
            self.stop.at_once = False
            self._keep_records_of_a_stream()
            self._source_batches = self._batches_to_do()
            yield
            # before the output gets its name: a kill in between leaves a run that can be repeated
            self.progress.finish("stopped" if self.stop.requested else "done")
            if self.stop.requested:
                self.exit_code = TRY_AGAIN
                return
            assert self._is_exhausted, "all records are processed before the output is finished"
            if self._rejects:
                self._rejects.commit()
            self.sink.commit()
        is_tolerated = self.tolerance.allows(self.stats.num_failed, self.stats.read)
        self.exit_code = DONE if is_tolerated else TOO_MANY_FAILURES

    def _new_sink(self) -> Sink:
        return resumable_sink(
            self.paths,
            self.run,
            resume=self._resume.resume,
            overwrite=self._resume.overwrite,
            force=self._resume.force,
            layout=self._image_format,
            line=self._line,
            inputs=self.source.inputs,
            limit=self._resume.limit,
            is_part=self.shard.is_part,
        )

    def _path_of_rejects(self, named: str | None) -> Path:
        if named and self.shard.is_part:
            raise MegastyleError(
                "shards cannot share --rejects", hint="each has one beside its part"
            )
        if named:
            check_records_name(Path(named))
        return Path(named) if named else self.paths.base / "rejects.jsonl"

    def _rejects_file(self) -> RejectsFile | nullcontext[None]:
        if self._rejects_path is None:
            return nullcontext()
        return RejectsFile(
            self._rejects_path,
            self.run.command,
            resume=self._resume.resume,
            overwrite=self._resume.overwrite,
        )

    def _batches_to_do(self) -> Iterator[Batch]:
        done = self.sink.done + self._rejects.done if self._rejects else self.sink.done
        if self.group_key is None:
            left = self._not_done(Counter(done))
            return self.batch_size.batches(left)
        placed = (Placed(each.position, with_id(each.found)) for each in self._placed)
        return batches_by_key(placed, self.group_key, self.shard, done, self.stats, self.batch_size)

    def _not_done(self, left: Counter[str]) -> Iterator[Placed]:
        names = self._done_names() if self.resumes else None
        for each in self._placed:
            if names and names.take(each.found, left):
                self.stats.done_before += 1
                continue
            result = with_id(each.found)
            if not isinstance(result, Failure) and is_done(result, left, self.sink_key):
                self.stats.done_before += 1
            else:
                yield Placed(each.position, result)

    def _done_names(self) -> DoneNames | None:
        """The pictures of the output's records; none of an index, which has other keys."""
        final = self.paths.final
        if not final or self._own_sink:
            return None
        output = next((path for path in (final, partial_path(final)) if path.exists()), None)
        key = "content_file_name" if self._image_format else "file_name"
        return DoneNames(output, key) if output else None

    def _next(self) -> Batch | None:
        if self._ready:  # the parts of a batch that failed may be many
            return None if self.stop.requested else self._ready.popleft()
        return self._next_of_source()

    def _next_of_source(self) -> Batch | None:
        batch = self.stop.next_of(self._source_batches)
        self._is_exhausted = batch is None
        return batch

    def _divide(
        self,
        batch: Batch,
        records: list[Record],
        made: list[Record | Failure],
        error: Exception,
    ) -> None:
        """Hands out the parts of a failed batch that come after what was made of it.

        What is one part already becomes failures.
        """
        parts = [[each] for each in batch]
        if self.group_key is not None:  # a record is judged by its group, so that stays together
            parts = [list(group) for _, group in groups(batch, self.group_key)]
        if len(parts) > 1:
            assert not self._begun, "batches that are processed side by side hold one record each"
            log.debug("a batch of %d failed, trying one by one", len(records), exc_info=True)
            is_complete = len(made) == len(records)  # an error after the last may concern any
            saved = 0 if is_complete else self._save_first(batch, made)
            self._ready.extendleft(reversed(parts[saved:]))
        else:
            log.debug("%s failed alone", records[0].get("id"), exc_info=True)
            self._save(batch, [_failure(record, error) for record in records])

    def _save_first(self, batch: Batch, made: list[Record | Failure]) -> int:
        """Writes the results of the first records of a batch; how much of the batch that is.

        Nothing of a group, which is judged whole.
        """
        if not made or self.group_key is not None:
            return 0
        places = [at for at, each in enumerate(batch) if not isinstance(each.found, Failure)]
        end = places[len(made)] if len(made) < len(places) else len(batch)
        self._save(batch[:end], made)
        return end

    def _save_batches_without_records(self) -> None:
        while self._begun and not _records_of(self._begun[0]):
            self._save(self._begun.popleft(), [])

    def _save(self, batch: Batch, made: list[Record | Failure]) -> None:
        """Writes the results of a batch, failures of its reading in their output_paths."""
        of_records = iter(made)
        for each in batch:
            given = each.found
            result = given if isinstance(given, Failure) else next(of_records)
            if not isinstance(given, Failure) and is_context_only(given):
                continue
            if self.sink.errors:
                self.sink.errors.mark_retried(given)
            reason = self._rejects.reason(result) if self._rejects else None
            if self._rejects and reason and not isinstance(result, Failure):
                self._rejects.write(result)
                self.stats.reject(reason)
            else:
                self.sink.write(result, each.position)
                self.stats.add(result)
        if self._rejects:
            self._rejects.flush()
        self.sink.flush()
        self.progress.show()


def _records_of(batch: Batch) -> list[Record]:
    return [each.found for each in batch if not isinstance(each.found, Failure)]


def _failure(record: Record, error: Exception) -> Failure:
    if isinstance(error, BadRecord):
        return Failure.of(record, error)
    kind = "out_of_memory" if is_out_of_memory(error) else "model_error"
    name = record.get("file_name", record.get("id"))
    return Failure(record, kind, f"{name}: {error or type(error).__name__}")
