"""Work side by side changes nothing but the speed, and stops when asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.runner.concurrency import concurrent_chunks, concurrent_results
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.map_job import MapJob
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.signals import Stopped, StopSignal
from tests.conftest import jsonl, lines
from tests.runner.test_map_job import RUN, Process, run_map, texts, upper


def run_concurrently(
    source: Path, out: Path, workers: int, process: Process = upper, *, resume: bool = False
) -> int:
    with MapJob(
        RUN,
        Source(inputs=[str(source)]),
        output=OutputOptions(output=str(out)),
        existing=ResumeOptions(resume=resume),
        report=ReportOptions(quiet=True),
        batch_size=1,
    ) as job:
        for results in concurrent_results(process, job.batches(), workers, job.stop):
            job.write(results)
    return job.exit_code


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_nothing_but_the_speed(tmp_path: Path, workers: int) -> None:
    records = texts(60)
    records[1]["bad"], records[40]["bad"] = "raise", "crash"
    source = jsonl(tmp_path / "in.jsonl", records)

    assert run_map(source, tmp_path / "one.jsonl", size=2) == TOO_MANY_FAILURES
    assert run_concurrently(source, tmp_path / "many.jsonl", workers) == TOO_MANY_FAILURES

    for suffix in (".jsonl", ".errors.jsonl"):
        one, many = tmp_path / f"one{suffix}", tmp_path / f"many{suffix}"
        assert one.read_bytes() == many.read_bytes()


def test_lines_that_cannot_be_read_keep_their_places(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", texts(9))
    source.write_text(source.read_text().replace('{"id": "4", "text": "t4"}', "no json"))

    assert run_concurrently(source, tmp_path / "out.jsonl", 3) == TOO_MANY_FAILURES

    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == list("01235678")


def test_a_signal_ends_workers_after_what_they_have_begun(tmp_path: Path) -> None:
    begun = []

    def stopping(batch: Iterable[Record]) -> Iterator[Record | Failure]:
        batch = list(batch)
        begun.extend(record["id"] for record in batch)
        if batch[0]["id"] == "20":
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.005)
        yield from upper(batch)

    source, out = jsonl(tmp_path / "in.jsonl", texts(400)), tmp_path / "out.jsonl"
    assert run_concurrently(source, out, 3, stopping) == TRY_AGAIN

    written = [record["id"] for record in lines(tmp_path / "out.jsonl.partial")]
    assert written == [str(n) for n in range(len(written))]
    assert sorted(written) == sorted(begun) and len(written) < 400

    assert run_concurrently(source, out, 3, resume=True) == DONE
    assert [record["id"] for record in lines(out)] == [str(n) for n in range(400)]


def test_what_a_server_never_answers_is_dropped_after_the_grace(tmp_path: Path) -> None:
    never, earlier = threading.Event(), threading.Barrier(2, timeout=30)

    def hanging(batch: list[Record]) -> Iterator[Record | Failure]:
        if batch[0]["id"] == "4":
            earlier.wait()
        if batch[0]["id"] == "5":
            earlier.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            never.wait()
        yield from upper(batch)

    source, out = jsonl(tmp_path / "in.jsonl", texts(40)), tmp_path / "out.jsonl"
    with MapJob(
        RUN,
        Source(inputs=[str(source)]),
        output=OutputOptions(output=str(out)),
        existing=ResumeOptions(),
        report=ReportOptions(quiet=True),
        batch_size=1,
    ) as job:
        for results in concurrent_results(hanging, job.batches(), 3, job.stop, grace_s=0.0):
            job.write(results)
    never.set()

    assert job.exit_code == TRY_AGAIN
    written = [record["id"] for record in lines(tmp_path / "out.jsonl.partial")]
    assert written == list("01234")[: len(written)]

    assert run_concurrently(source, out, 3, resume=True) == DONE
    assert [record["id"] for record in lines(out)] == [str(n) for n in range(40)]


FOR_EVER = """
import threading
from megastyle_cli.runner.concurrency import concurrent_results
from megastyle_cli.runner.signals import Stopped, StopSignal

def process(item):
    stop.requested = True
    threading.Event().wait()

stop = StopSignal()
try:
    for results in concurrent_results(process, iter([1]), 2, stop, grace_s=0.0):
        list(results)
except Stopped:
    print("stopped")
"""


def test_the_end_of_the_process_does_not_wait_for_what_is_dropped() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FOR_EVER], capture_output=True, check=True, timeout=200
    )
    assert ended.stdout == b"stopped\n"


@pytest.mark.parametrize(("workers", "chunk_size"), [(1, 1), (1, 9), (3, 2), (8, 1)])
def test_chunks_change_neither_results_nor_order(workers: int, chunk_size: int) -> None:
    sizes = []

    def double(chunk: Sequence[int]) -> Iterator[int]:
        sizes.append(len(chunk))
        yield from (2 * number for number in chunk)

    assert list(concurrent_chunks(double, range(5), workers, chunk_size)) == [0, 2, 4, 6, 8]
    assert sum(sizes) == 5 and max(sizes) <= chunk_size


def test_chunks_are_processed_at_the_same_time() -> None:
    barrier = threading.Barrier(4, timeout=10)

    def wait_for_all(chunk: Sequence[int]) -> Sequence[int]:
        barrier.wait()  # breaks unless four threads arrive
        return chunk

    assert list(concurrent_chunks(wait_for_all, range(4), 4, 1)) == [0, 1, 2, 3]


def test_a_signal_ends_chunks_between_two(tmp_path: Path) -> None:
    begun: list[int] = []
    given: list[int] = []

    def stopping(chunk: Sequence[int]) -> Sequence[int]:
        begun.extend(chunk)
        if 4 in chunk:
            stop.requested = True
        return chunk

    stop = StopSignal()
    with pytest.raises(Stopped):
        given.extend(concurrent_chunks(stopping, range(100), 1, 2, stop))

    assert begun == given == [0, 1, 2, 3, 4, 5]


def test_what_a_chunk_raises_rises() -> None:
    def fail(chunk: Sequence[int]) -> Iterator[int]:
        raise KeyError(chunk[0])
        yield

    with pytest.raises(KeyError, match="0"):
        list(concurrent_chunks(fail, range(5), 2, 1))
