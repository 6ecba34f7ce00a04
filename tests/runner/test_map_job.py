"""A map keeps order, isolates a poisoned record and stops after the batch when asked."""

import gc
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import output_paths
from megastyle_cli.io.writers.sink import resumable_sink
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.map_job import MapJob
from megastyle_cli.runner.options import OutputOptions, ReportOptions, ResumeOptions
from megastyle_cli.runner.signals import Stopped
from tests.conftest import draw, jsonl, lines

RUN = Run("caption", {"a": 1})
Process = Callable[[list[Record]], Iterable[Record | Failure]]


def upper(records: Iterable[Record]) -> Iterator[Record | Failure]:
    for record in records:
        if record.get("bad") == "raise":
            raise BadRecord("bad_answer", f"{record['id']} is bad")
        if record.get("bad") == "crash":
            raise KeyError("oh")
        if record.get("bad") == "memory":
            raise MemoryError
        yield {**record, "upper": record["text"].upper()}


def run_map(
    source: Path, out: Path, process: Process = upper, run: Run = RUN, size: int = 16, **flags: Any
) -> int:
    """The exit code of a map over the records of `source` into `out`."""
    with MapJob(
        run,
        Source(inputs=[str(source)]),
        output=OutputOptions(output=str(out)),
        existing=ResumeOptions(**flags),
        report=ReportOptions(quiet=True),
        batch_size=size,
    ) as job:
        for batch in job.batches():
            job.write(process(batch))
    return job.exit_code


def work(tmp_path: Path, records: list[Record], **flags: Any) -> int:
    """As `run_map`, from in.jsonl, which holds `records`, into out.jsonl."""
    return run_map(jsonl(tmp_path / "in.jsonl", records), tmp_path / "out.jsonl", **flags)


def texts(number: int) -> list[Record]:
    return [{"id": str(row), "text": f"t{row}"} for row in range(number)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_poisoned_records_cost_only_themselves(tmp_path: Path, size: int) -> None:
    records = texts(9)
    records[1]["bad"], records[4]["bad"], records[8]["bad"] = "raise", "crash", "memory"

    assert work(tmp_path, records, size=size) == TOO_MANY_FAILURES

    done, failed = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.errors.jsonl")
    assert [record["id"] for record in done] == list("023567")
    assert [record["id"] for record in failed] == list("148")
    kinds = [record["_error"]["kind"] for record in failed]
    assert kinds == ["bad_answer", "model_error", "out_of_memory"]
    assert all(record["text"] for record in failed)


def test_the_errors_file_is_an_input_that_completes_the_output(tmp_path: Path) -> None:
    records = texts(4)
    records[2]["bad"] = "raise"
    work(tmp_path, records)

    repaired = [
        {k: v for k, v in r.items() if k != "bad"} for r in lines(tmp_path / "out.errors.jsonl")
    ]
    jsonl(tmp_path / "repaired.jsonl", repaired)

    code = run_map(tmp_path / "repaired.jsonl", tmp_path / "out.jsonl", resume=True)

    assert code == DONE
    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == list("0132")
    assert not (tmp_path / "out.errors.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_batch_and_resume_gives_the_same_bytes(
    tmp_path: Path, number: signal.Signals
) -> None:
    records = texts(10)
    (tmp_path / "whole").mkdir()
    work(tmp_path / "whole", records)

    def stopping(batch: Iterable[Record]) -> Iterator[Record | Failure]:
        batch = list(batch)
        if any(record["id"] == "4" for record in batch):
            os.kill(os.getpid(), number)
        yield from upper(batch)

    out = tmp_path / "out.jsonl"
    assert work(tmp_path, records, process=stopping, size=3) == TRY_AGAIN
    assert not out.exists()
    assert len(lines(tmp_path / "out.jsonl.partial")) == 6  # the batch in hand was finished

    assert work(tmp_path, records, resume=True) == DONE
    assert out.read_bytes() == (tmp_path / "whole" / "out.jsonl").read_bytes()


def test_results_that_were_made_before_an_error_are_not_made_again(tmp_path: Path) -> None:
    records = texts(8)
    records[5]["bad"] = "crash"
    asked: list[str] = []

    def noting(batch: Iterable[Record]) -> Iterator[Record | Failure]:
        for record in batch:
            asked.append(record["id"])
            yield from upper([record])

    assert work(tmp_path, records, process=noting) == TOO_MANY_FAILURES

    # batches of 1, 2, 4 and 1, and the rest of the third one record at a time
    assert asked == ["0", "1", "2", "3", "4", "5", "5", "6", "7"]
    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == list("0123467")


def test_a_signal_ends_what_is_tried_again_record_by_record(tmp_path: Path) -> None:
    records = texts(8)
    (tmp_path / "whole").mkdir()
    work(tmp_path / "whole", records)

    def failing(batch: list[Record]) -> Iterator[Record | Failure]:
        if len(batch) > 2:
            raise RuntimeError("too many")
        if batch[0]["id"] == "4":
            os.kill(os.getpid(), signal.SIGTERM)
        yield from upper(batch)

    assert work(tmp_path, records, process=failing) == TRY_AGAIN
    assert len(lines(tmp_path / "out.jsonl.partial")) == 5

    assert work(tmp_path, records, resume=True) == DONE
    whole = tmp_path / "whole" / "out.jsonl"
    assert (tmp_path / "out.jsonl").read_bytes() == whole.read_bytes()


def test_lines_after_a_stop_are_left_to_the_next_run(tmp_path: Path) -> None:
    """A line that is no record stands between those that are made and those that are not."""
    source = jsonl(tmp_path / "in.jsonl", texts(7))
    source.write_text(source.read_text().replace('{"id": "5", "text": "t5"}', "no json"))

    def stopped(batch: list[Record]) -> Iterator[Record | Failure]:
        if batch[0]["id"] == "3":
            yield from upper(batch[:2])
            os.kill(os.getpid(), signal.SIGTERM)
            raise Stopped
        yield from upper(batch)

    out = tmp_path / "out.jsonl"
    assert run_map(source, out, stopped) == TRY_AGAIN
    assert [record["id"] for record in lines(tmp_path / "out.jsonl.partial")] == list("01234")

    assert run_map(source, out, resume=True) == TOO_MANY_FAILURES
    assert [record["id"] for record in lines(out)] == list("012346")
    assert len(lines(tmp_path / "out.errors.jsonl")) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="reads which files are open")
def test_a_stopped_run_closes_its_input(tmp_path: Path) -> None:
    def stopped(batch: list[Record]) -> Iterator[Record | Failure]:
        os.kill(os.getpid(), signal.SIGTERM)
        yield from upper(batch)

    gc.disable()  # it would close the input some time later
    try:
        assert work(tmp_path, texts(7), process=stopped, size=2) == TRY_AGAIN
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        opened = [str(link.readlink()) for link in links]
    finally:
        gc.enable()

    assert str(tmp_path / "in.jsonl") not in opened


def test_a_signal_ends_the_loading_of_a_model_at_once(tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", texts(2))

    job = MapJob(
        Run("caption"),
        Source(inputs=[str(source)]),
        output=OutputOptions(output=str(tmp_path / "out.jsonl")),
        existing=ResumeOptions(),
        report=ReportOptions(quiet=True),
        batch_size=1,
    )
    with pytest.raises(MegastyleError, match="stopped by SIGTERM") as caught, job:
        assert job.has_records()
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal must end the block")

    assert caught.value.exit_code == TRY_AGAIN and "--resume" in str(caught.value.hint)


def test_a_torn_last_line_is_cut_and_done_again(tmp_path: Path) -> None:
    work(tmp_path, texts(5))
    out = tmp_path / "out.jsonl"
    whole = out.read_bytes()
    out.rename(tmp_path / "out.jsonl.partial")
    (tmp_path / "out.jsonl.partial").write_bytes(whole[:-9])

    assert work(tmp_path, texts(5), resume=True) == DONE
    assert out.read_bytes() == whole


def test_an_id_is_skipped_as_often_as_it_is_there(tmp_path: Path) -> None:
    twice = [{"id": "a", "text": "x"}, {"id": "a", "text": "x"}]
    work(tmp_path, twice[:1])

    work(tmp_path, twice, resume=True)

    assert len(lines(tmp_path / "out.jsonl")) == 2


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    work(tmp_path, texts(20))
    source = tmp_path / "in.jsonl"
    for index in range(3):
        assert run_map(source, tmp_path / "parts", shard=f"{index}/3") == DONE

    parts = [lines(path) for path in sorted((tmp_path / "parts").glob("part-*.jsonl"))]
    key = lambda record: record["id"]  # noqa: E731
    assert sorted(sum(parts, []), key=key) == sorted(lines(tmp_path / "out.jsonl"), key=key)


def test_an_existing_output_is_refused_and_left_alone(tmp_path: Path) -> None:
    work(tmp_path, texts(3))
    before = (tmp_path / "out.jsonl").read_bytes()

    with pytest.raises(MegastyleError, match="exists") as caught:
        work(tmp_path, texts(2))

    assert "--resume" in caught.value.hint and "--overwrite" in caught.value.hint
    assert (tmp_path / "out.jsonl").read_bytes() == before


def test_another_run_is_not_mixed_in_unless_forced(tmp_path: Path) -> None:
    work(tmp_path, texts(2))
    other = Run("caption", {"a": 2})

    with pytest.raises(MegastyleError, match="a was 1 and is 2"):
        work(tmp_path, texts(2), run=other, resume=True)
    assert work(tmp_path, texts(2), run=other, resume=True, force=True) == DONE


def test_an_input_that_is_done_has_no_records(tmp_path: Path) -> None:
    work(tmp_path, texts(2))
    (tmp_path / "broken.jsonl").write_text("{}\nno json\n")

    for source, expected in (("in.jsonl", False), ("broken.jsonl", True)):
        with MapJob(
            RUN,
            Source(inputs=[str(tmp_path / source)]),
            output=OutputOptions(output=str(tmp_path / "out.jsonl")),
            existing=ResumeOptions(resume=True),
            report=ReportOptions(quiet=True),
            batch_size=1,
        ) as job:
            assert job.has_records() is expected
            for batch in job.batches():
                job.write([{**record, "upper": ""} for record in batch])

    assert [record["id"] for record in lines(tmp_path / "out.jsonl")][:2] == ["0", "1"]


def test_a_job_left_before_its_end_does_not_finish_its_output(tmp_path: Path) -> None:
    def first_batch_only(batches: Iterator[list[Record]]) -> Iterator[list[Record]]:
        yield next(batches)

    source = jsonl(tmp_path / "in.jsonl", texts(3))
    with (
        pytest.raises(AssertionError, match="all records"),
        MapJob(
            RUN,
            Source(inputs=[str(source)]),
            output=OutputOptions(output=str(tmp_path / "out.jsonl")),
            existing=ResumeOptions(),
            report=ReportOptions(quiet=True),
            batch_size=1,
        ) as job,
    ):
        for batch in first_batch_only(job.batches()):
            job.write(upper(batch))

    assert not (tmp_path / "out.jsonl").exists()


def test_a_failure_stays_until_its_record_is_tried_again(tmp_path: Path) -> None:
    bad = {"id": "x", "text": "x", "bad": "raise"}
    work(tmp_path, [*texts(2), bad])

    work(tmp_path, texts(4), resume=True)
    assert [record["id"] for record in lines(tmp_path / "out.errors.jsonl")] == ["x"]

    work(tmp_path, [{"id": "x", "text": "x"}], resume=True)
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_a_picture_that_can_be_read_at_last_leaves_the_errors_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [{"file_name": "a.png", "text": "a"}]
    work(tmp_path, records)
    assert len(lines(tmp_path / "out.errors.jsonl")) == 1

    draw(1).save("a.png")
    assert work(tmp_path, records, resume=True) == DONE
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_two_processes_do_not_write_one_output(tmp_path: Path) -> None:
    paths = output_paths(str(tmp_path / "out.jsonl"), Shard(), folder=False)
    flags = {"resume": True, "overwrite": False, "force": False}

    with (
        resumable_sink(paths, RUN, **flags),
        pytest.raises(MegastyleError, match="another process is writing"),
        resumable_sink(paths, RUN, **flags),
    ):
        pass
