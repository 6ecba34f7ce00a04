"""Work side by side changes nothing but the speed, and stops when asked."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.runner.concurrency import concurrent_results
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.map_job import MapJob
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
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
