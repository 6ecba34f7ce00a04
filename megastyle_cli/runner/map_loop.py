"""The one loop of every map command: source -> step -> sink, batch by batch."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from megastyle_cli.core.errors import (
    DONE,
    TOO_MANY_FAILURES,
    TRY_AGAIN,
    BadRecord,
    MegastyleError,
    is_out_of_memory,
)
from megastyle_cli.core.record import Failure, Record, Step, is_context_only
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.writers.rejects_file import RejectsFile
from megastyle_cli.io.writers.sink import Sink
from megastyle_cli.runner.key_batches import Key, batches, batches_by_key, groups, is_done, owned
from megastyle_cli.runner.progress import Progress, Stats
from megastyle_cli.runner.signals import StopSignal, stop_signals

log = logging.getLogger(__name__)
ROUNDS = 8  # batches a lane may be ahead of the oldest that is not done: results, not pictures


Batch = list[Record | Failure]
Try = Callable[[list[Record]], list[Record | Failure]]  # a step whose faults are failures


def run_map(
    found: Iterable[Record | Failure],
    step: Step,
    sink: Sink,
    *,
    shard: Shard,
    tally: Stats,
    progress: Progress,
    batch_size: int,
    lanes: int = 1,
    may_fail: Callable[[int, int], bool],
    rejects: RejectsFile | None = None,
    together: Key | None = None,
) -> int:
    """Puts every record that is ours and not done through `step` and gives the exit code.

    `step` yields one result a record, in order; with several `lanes` it is called from so many
    threads at the same time. `may_fail(failed, read)` says whether that many failures are
    tolerated. What the step marked as rejected goes to `rejects` and counts as done. Neighbours
    for which `together` gives one key come to the step at once (together.py). The output keeps its
    .partial name unless every record was tried.
    """
    done = sink.done + rejects.done if rejects else sink.done
    if together is None:
        ours = batches(_ours(found, shard, done, tally, sink.once), batch_size)
    else:
        ours = batches_by_key(found, together, shard, done, tally, batch_size)
    tried: Try = partial(_tried, step=step, together=together)
    with stop_signals() as stop:
        stepped = _in_turn(ours, tried, stop) if lanes == 1 else _in_lanes(ours, tried, stop, lanes)
        for batch, results in stepped:
            for given, result in zip(batch, results, strict=True):
                if not isinstance(given, Failure) and is_context_only(given):
                    continue
                sink.errors.mark_retried(given)
                reason = rejects.reason(result) if rejects else None
                if rejects and reason and not isinstance(result, Failure):
                    rejects.write(result)
                    tally.reject(reason)
                else:
                    sink.write(result)
                    tally.add(result)
            if rejects:
                rejects.flush()
            sink.flush()
            progress.show()
        if stop.requested:
            return TRY_AGAIN
        if rejects:
            rejects.commit()
        sink.commit()
    return DONE if may_fail(tally.num_failed, tally.read) else TOO_MANY_FAILURES


Stepped = Iterator[tuple[Batch, Iterable[Record | Failure]]]


def _in_turn(ours: Iterator[Batch], tried: Try, stop: StopSignal) -> Stepped:
    while batch := stop.next_of(ours):
        yield batch, _results(batch, tried)


def _in_lanes(ours: Iterator[Batch], tried: Try, stop: StopSignal, lanes: int) -> Stepped:
    """Each batch with its results, in order, while later ones are worked on.

    So no lane waits for the others at a batch's end. A slow batch holds back at most ROUNDS for
    each lane; asked to stop, the lanes finish what they have begun.
    """
    waiting: deque[tuple[Batch, Future[list[Record | Failure]]]] = deque()
    with ThreadPoolExecutor(lanes) as pool:
        try:
            while batch := stop.next_of(ours):
                waiting.append((batch, pool.submit(_all_results, batch, tried)))
                while waiting and (waiting[0][1].done() or len(waiting) >= ROUNDS * lanes):
                    first, results = waiting.popleft()
                    yield first, results.result()
            while waiting:
                if stop.requested:
                    pool.shutdown(wait=False, cancel_futures=True)
                first, results = waiting.popleft()
                if results.cancelled():
                    return
                yield first, results.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _all_results(batch: Batch, tried: Try) -> list[Record | Failure]:
    return list(_results(batch, tried))


def tolerance(text: str) -> Callable[[int, int], bool]:
    """`--max-errors N` or `N%` as a question: are `failed` of `read` tolerated?"""
    number = text.removesuffix("%")
    try:
        allowed = float(number) if text.endswith("%") else int(number)
        if not allowed >= 0:  # NaN too
            raise ValueError
    except ValueError:
        raise MegastyleError(
            f"--max-errors is {text!r}, not N or N%", hint="give 5 or 1%"
        ) from None
    if text.endswith("%"):
        return lambda failed, read: failed <= read * allowed / 100
    return lambda failed, read: failed <= allowed


def _ours(
    found: Iterable[Record | Failure],
    shard: Shard,
    done: Counter[str],
    tally: Stats,
    once: Key | None = None,
) -> Iterator[Record | Failure]:
    left = Counter(done)
    for result in owned(found, shard):
        if not isinstance(result, Failure) and is_done(result, left, once):
            tally.done_before += 1
            continue
        yield result


def _results(batch: Batch, tried: Try) -> Iterator[Record | Failure]:
    """One result for each of `batch`, in order: its own if it failed before, else the step's."""
    stepped = iter(tried([found for found in batch if not isinstance(found, Failure)]))
    for found in batch:
        yield found if isinstance(found, Failure) else next(stepped)


def _tried(
    records: list[Record], step: Step, together: Key | None = None
) -> list[Record | Failure]:
    try:
        results = list(step(records))
    except (MegastyleError, OSError):
        raise  # pictures that cannot be read are BadRecord: this is a full disk or our own mistake
    except Exception:
        # One poisoned record must not cost its batch.
        log.debug("a batch of %d failed, trying one by one", len(records), exc_info=True)
        if together is None:
            return [_tried_alone(record, step) for record in records]
        # each group whole: alone, a record would be judged by nobody
        alone = [list(group) for _, group in groups(records, together)]
        return [result for group in alone for result in _tried_as_one(group, step)]
    assert len(results) == len(records), "a step gives one result a record"
    return results


def _tried_as_one(group: Batch, step: Step) -> list[Record | Failure]:
    """The results of a group, or of each of its records that it failed."""
    records = [record for record in group if not isinstance(record, Failure)]
    try:
        return list(step(records))
    except (MegastyleError, OSError):
        raise
    except Exception as error:
        log.debug("a group of %d failed", len(records), exc_info=True)
        return [_failed(record, error) for record in records]


def _tried_alone(record: Record, step: Step) -> Record | Failure:
    try:
        (result,) = step([record])
        return result
    except (MegastyleError, OSError):
        raise
    except Exception as error:
        log.debug("%s failed alone", record.get("id"), exc_info=True)
        return _failed(record, error)


def _failed(record: Record, error: Exception) -> Failure:
    if isinstance(error, BadRecord):
        return Failure(record, error.kind, error.message)
    kind = "out_of_memory" if is_out_of_memory(error) else "model_error"
    name = record.get("file_name", record.get("id"))
    return Failure(record, kind, f"{name}: {error or type(error).__name__}")
