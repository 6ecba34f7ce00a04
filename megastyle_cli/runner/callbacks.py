"""What all commands do around their step: open, loop or read everything, count, speak, exit."""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from megastyle_cli.core.atomic_file import atomic_write, count_ids, partial_path
from megastyle_cli.core.errors import (
    DONE,
    TOO_MANY_FAILURES,
    TRY_AGAIN,
    UNEXPECTED,
    BadRecord,
    MegastyleError,
)
from megastyle_cli.core.record import Failure, Record, Run, Step, rename_pictures
from megastyle_cli.core.shard import Shard, parse_shard, refine_by_rank
from megastyle_cli.io.inputs import count_records, read_records
from megastyle_cli.io.output_paths import OutputPaths, output_paths
from megastyle_cli.io.packed_records import PackedRecords
from megastyle_cli.io.readers.jsonl import dump_line
from megastyle_cli.io.record_ids import with_id
from megastyle_cli.io.relative_paths import from_folder
from megastyle_cli.io.spool import Spool
from megastyle_cli.io.writers.image_dataset import ImageFormat
from megastyle_cli.io.writers.rejects_file import RejectsFile
from megastyle_cli.io.writers.sink import Sink, atomic_sink, resumable_sink
from megastyle_cli.runner.key_batches import Key, batches, is_done, owned
from megastyle_cli.runner.map_loop import run_map, tolerance
from megastyle_cli.runner.progress import Progress, Stats, last_sentence, say
from megastyle_cli.runner.signals import stop_signals

if TYPE_CHECKING:
    from megastyle_cli.compute.string_array import StringArray
    from megastyle_cli.io.raw_jsonl.batches import LineBatch

Check = Callable[[Record], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The shared flags of one call: where records come from, where they go, how bad luck is met."""

    inputs: list[str]
    given: list[Record] = field(default_factory=list)  # by flags: they come before the inputs
    output: str = "-"
    errors: str | None = None
    rejects: str | None = None
    max_errors: str = "0"
    resume: bool = False
    overwrite: bool = False
    force: bool = False
    shard: str | None = None
    limit: int | None = None
    paths: str | None = None
    batch_size: int = 16
    lanes: int = 1  # batches worked on at the same time, for a step that waits for others
    keep: bool = False  # the records are wanted afterwards, for a sheet or a page
    stats: Path | None = None
    dry_run: bool = False
    quiet: bool = False
    layout: ImageFormat | None = None  # of an image maker's pictures
    together: Key | None = None  # neighbours of one key are judged by each other


@dataclass(frozen=True)
class Look:
    """What a barrier command does with the text under `key` of every record as they are read."""

    key: str
    at: Callable[[Iterator["StringArray"]], None]


@dataclass(frozen=True)
class Done:
    """How a job ended: the exit code, what was counted, and the records if they were asked for."""

    code: int
    tally: Stats
    records: list[Record] | None = None


def run_job(
    run: Run,
    flow: Flow,
    load_step: Callable[[Sink], Step],
    *,
    folder: bool = False,
    instead: Sink | None = None,
    tally: Stats | None = None,
    gated: bool = False,
) -> Done:
    """A map command from flags to exit code.

    `load_step` is called with the sink when the first record is there, so that an empty or finished
    input loads no model. `folder` is true for image makers. `instead` takes the place of the
    sink that the flags describe; `tally` is given where the step has something to say of the run.
    `gated` is true where the step may turn results away.
    """
    shard = refine_by_rank(parse_shard(flow.shard))
    where = (
        instead.paths
        if instead
        else output_paths(flow.output, shard, folder=folder, errors=flow.errors)
    )
    may_fail = tolerance(flow.max_errors)
    tally = tally or Stats(run.command)
    found = _records(flow)
    _refuse_stats(flow.stats, where)
    _refuse_input_as_output(flow, where)
    if flow.dry_run:
        return _tell_plan(run, flow, where, shard, tally, instead.once if instead else None)
    with (
        instead
        or resumable_sink(
            where,
            run,
            resume=flow.resume,
            overwrite=flow.overwrite,
            force=flow.force,
            layout=flow.layout,
        ) as sink,
        _rejects_file(run, flow, where, shard) if gated else nullcontext() as rejects,
        _shown(flow, tally, shard) as progress,
    ):
        sink.written = [] if flow.keep and where.final is None else None
        code = run_map(
            found,
            _at_first_record(lambda: load_step(sink)),
            sink,
            shard=shard,
            tally=tally,
            progress=progress,
            batch_size=flow.batch_size,
            lanes=flow.lanes,
            may_fail=may_fail,
            rejects=rejects,
            together=flow.together,
        )
    return _concluded(flow, tally, sink, code)


def run_barrier(
    run: Run,
    flow: Flow,
    work: Callable[[Spool, Stats], Iterator[Record | bytes | Failure]],
    *,
    check: Check = lambda record: None,
    look: Look | None = None,
    line: Callable[[Record], bytes] = dump_line,
) -> Done:
    """A command that reads everything before it writes: `work` gets the records, gives the results.

    `check` raises BadRecord for a record that the work cannot use, `look` sees one text of all
    others while they are read, `line` says how a record is written. A signal or an error leaves
    what stood there before.
    """
    if refine_by_rank(Shard()) != Shard():
        raise MegastyleError(
            f"{run.command} needs all records in one process", hint="start it without accelerate"
        )
    where = output_paths(flow.output, Shard(), folder=False, errors=flow.errors)
    may_fail = tolerance(flow.max_errors)
    tally = Stats(run.command)
    found = _records(flow)
    _refuse_stats(flow.stats, where)
    if flow.dry_run:
        return _tell_plan(run, flow, where, Shard(), tally)
    with (
        stop_signals(at_once=True),
        atomic_sink(where, run, overwrite=flow.overwrite, line=line) as sink,
        Spool() as spool,
        _shown(flow, tally, Shard()) as progress,
    ):
        sink.written = [] if flow.keep and where.final is None else None
        log.info("%s reads its input", run.command)
        if look is None:
            _spool(found, check, spool, sink, tally, progress)
        else:
            from megastyle_cli.io.raw_jsonl.batches import read_batches  # brings a compiler

            blocks = read_batches(flow.inputs, look.key, check, flow.limit)
            look.at(_spooled(blocks, spool, sink, tally, progress))
        tally.written = 0
        for result in work(spool, tally):
            sink.write(result)
            if isinstance(result, Failure):
                tally.failed[result.kind] += 1
            elif isinstance(result, bytes):
                tally.written += result.count(b"\n")
            else:
                tally.written += 1
        sink.commit()
    code = DONE if may_fail(tally.num_failed, tally.read) else TOO_MANY_FAILURES
    return _concluded(flow, tally, sink, code)


def _rejects_file(run: Run, flow: Flow, where: OutputPaths, shard: Shard) -> RejectsFile:
    """Where rejected records go: the file named, else rejects.jsonl beside the output."""
    if flow.rejects and shard.count > 1:
        raise MegastyleError("shards cannot share --rejects", hint="each has one beside its part")
    path = Path(flow.rejects) if flow.rejects else where.base / "rejects.jsonl"
    return RejectsFile(path, run.command, resume=flow.resume, overwrite=flow.overwrite)


def _spool(
    found: Iterable[Record | Failure],
    check: Check,
    spool: Spool,
    sink: Sink,
    tally: Stats,
    progress: Progress,
) -> None:
    """Keeps the good records; failures go to the errors file."""
    for batch in batches(found, 1024):
        for result in (_checked(found_one, check) for found_one in batch):
            tally.add(result)
            if isinstance(result, Failure):
                sink.write(result)
            else:
                spool.add(result)
        progress.show()


def _spooled(
    blocks: "Iterable[LineBatch]", spool: Spool, sink: Sink, tally: Stats, progress: Progress
) -> "Iterator[StringArray]":
    """The texts of the good records, once those are kept; failures go to the errors file."""
    for block in blocks:
        for failure in block.failures:
            tally.add(failure)
            sink.write(failure)
        tally.read += len(block)
        spool.extend(block)
        yield block.texts
        progress.show()


def _records(flow: Flow) -> Iterator[Record | Failure]:
    found = read_records(flow.inputs, limit=flow.limit, paths=flow.paths)
    return islice(chain(map(with_id, flow.given), found), flow.limit)


def write_all(records: Iterable[Record | bytes], output: str, run: Run, *, overwrite: bool) -> None:
    """A second output of a barrier command: all of `records`, or no file."""
    where = replace(output_paths(output, Shard(), folder=False), errors=None, run=None)
    with atomic_sink(where, run, overwrite=overwrite) as sink:
        for record in records:
            sink.write(record)
        sink.commit()


def write_report(path: Path, facts: dict[str, Any]) -> None:
    """A report as JSON, whole or not at all."""
    atomic_write(path, json.dumps(facts, indent=1) + "\n", durable=False)


def refuse_side_outputs(flow: Flow, *names: str | Path | None) -> None:
    """Raises MegastyleError now if other outputs cannot be written under these names later."""
    where = output_paths(flow.output, Shard(), folder=False, errors=flow.errors)
    taken = {path.absolute() for path in (*_files(where), flow.stats) if path}
    for path in (Path(name) for name in names if name):
        if str(path) == "-" or path.absolute() in taken:
            raise MegastyleError(f"{path} is an output already", hint="give another name")
        if path.exists() and not flow.overwrite:
            raise MegastyleError(f"{path} exists", hint="add --overwrite to replace it")
        _refuse_unwritable(path)
        taken.add(path.absolute())


def _files(where: OutputPaths) -> list[Path]:
    return [path for path in (where.final, where.errors, where.run) if path]


def _refuse_stats(stats: Path | None, where: OutputPaths) -> None:
    _refuse_unwritable(stats)
    if stats is not None and stats.absolute() in {path.absolute() for path in _files(where)}:
        raise MegastyleError(f"{stats} is an output already", hint="give --stats another name")


def _refuse_input_as_output(flow: Flow, where: OutputPaths) -> None:
    """A map writes while it reads: raises MegastyleError if that would be the same file."""
    if where.final is None or not where.final.exists():
        return
    for name in flow.inputs:
        listing = Path(name, "metadata.jsonl")
        path = listing if listing.exists() else Path(name)
        if path.exists() and path.samefile(where.final):
            raise MegastyleError(f"{path} is input and output", hint="give -o another name")


def _refuse_unwritable(path: Path | None) -> None:
    # now, not after hours of work
    if path is not None and not os.access(path.parent, os.W_OK):
        raise MegastyleError(f"{path.parent} is no directory to write in", hint="make it first")


def _checked(result: Record | Failure, check: Check) -> Record | Failure:
    if isinstance(result, Failure):
        return result
    try:
        check(result)
    except BadRecord as bad:
        return Failure(result, bad.kind, bad.message)
    return result


def read_side_input(inputs: list[str], check: Check) -> list[Record]:
    """A second input that must be whole, such as a reference set: a failure ends us."""
    return list(_side_input(inputs, check))


def pack_side_input(inputs: list[str], check: Check) -> PackedRecords:
    """As `read_side_input`, where there may be millions; of records of one id only the first."""
    records, seen = PackedRecords(), set[str]()
    for record in _side_input(inputs, check):
        if record["id"] not in seen:
            seen.add(record["id"])
            records.append(record)
    return records


def _side_input(inputs: list[str], check: Check) -> Iterator[Record]:
    for found in (_checked(result, check) for result in read_records(inputs)):
        if isinstance(found, Failure):
            raise MegastyleError(found.message, hint="mend it or leave it out")
        yield found


@contextmanager
def _shown(flow: Flow, tally: Stats, shard: Shard) -> Iterator[Progress]:
    total = None
    if not flow.quiet and not flow.given:
        total = count_records(flow.inputs, flow.limit)
    progress = Progress(
        tally,
        quiet=flow.quiet,
        to_stdout=flow.output == "-",
        total=None if total is None else round(total / shard.count),
    )
    try:
        yield progress
    finally:
        progress.close()


def _concluded(flow: Flow, tally: Stats, sink: Sink, code: int) -> Done:
    if tally.conclude is not None:
        tally.conclude()
    if flow.stats is not None:
        tally.write(flow.stats)
    if not flow.quiet:
        for remark in tally.remarks:
            say(f"{tally.command}: {remark}")
        say(last_sentence(tally, sink.paths.errors))
        if code == TRY_AGAIN:
            say(f"{tally.command}: stopped by a signal; the same command with --resume goes on")
    return Done(code, tally, _written(sink) if flow.keep and code != TRY_AGAIN else None)


def _written(sink: Sink) -> list[Record]:
    """All records of a finished output: with --resume more than this run wrote."""
    if sink.paths.final is None:
        return sink.written or []
    found = read_records([str(sink.paths.final)])
    return [record for record in found if not isinstance(record, Failure)]


def _at_first_record(load: Callable[[], Step]) -> Step:
    loaded: list[Step] = []
    loading = Lock()

    def step(records: list[Record]) -> Iterator[Record | Failure]:
        if not records:
            return iter(())
        with loading:
            load_once()
        return loaded[0](records)

    def load_once() -> None:
        if not loaded:
            try:
                loaded.append(load())
            except (MegastyleError, OSError):
                raise
            except Exception as error:  # the model's fault and no record's: nothing to try again
                sentence = f"the model does not load: {type(error).__name__}: {error}"
                raise MegastyleError(sentence, "-vv shows where", UNEXPECTED) from error

    return step  # type: ignore[return-value]


def _tell_plan(
    run: Run,
    flow: Flow,
    where: OutputPaths,
    shard: Shard,
    tally: Stats,
    once: Key | None = None,
) -> Done:
    """Says what would be done, without loading a model or writing a byte."""
    ours = done = 0
    standing = [
        p for p in (where.final, where.final and partial_path(where.final)) if p and p.exists()
    ]
    left = _standing_keys(standing[0], once) if standing and flow.resume else Counter[str]()
    for result in _records(flow):
        tally.add(result)
        if shard.count > 1 and not any(owned([result], shard, flow.together)):
            continue
        ours += 1
        done += not isinstance(result, Failure) and is_done(result, left, once)
    say(
        f"{run.command} (dry run): {tally.read:,} read, {ours:,} of them ours,"
        f" {done:,} done before, {tally.num_failed:,} unreadable"
    )
    options = ", ".join(f"{key} {value}" for key, value in run.options.items())
    say(f"would load and run with: {options or 'no options'} (run {run.key})")
    say(f"would write to: {where.final or 'standard output'}")
    if standing and not (flow.resume or flow.overwrite):
        say(f"{standing[0]} exists: it would need --resume or --overwrite")
    return Done(DONE, tally)


def _standing_keys(path: Path, once: Key | None) -> Counter[str]:
    if once is None:
        return count_ids(path)
    here = from_folder(str(path.parent))
    return count_ids(path, lambda record: once(rename_pictures(record, here)))
