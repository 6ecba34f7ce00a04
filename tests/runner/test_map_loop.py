"""The loop keeps order, isolates a poisoned record and stops after the batch when asked."""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megastyle_cli.core.errors import DONE, TOO_MANY_FAILURES, TRY_AGAIN, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import output_paths
from megastyle_cli.io.writers.sink import resumable_sink
from megastyle_cli.runner.callbacks import Flow, run_job
from megastyle_cli.runner.map_loop import run_map, tolerance
from megastyle_cli.runner.progress import Progress, Stats
from tests.conftest import draw, jsonl, lines

RUN = Run("caption", {"a": 1})


def upper(records: Iterable[Record]) -> Iterator[Record | Failure]:
    for record in records:
        if record.get("bad") == "raise":
            raise BadRecord("bad_answer", f"{record['id']} is bad")
        if record.get("bad") == "crash":
            raise KeyError("oh")
        if record.get("bad") == "memory":
            raise MemoryError
        yield {**record, "upper": record["text"].upper()}


def work(tmp_path: Path, records: list[Record], **flags: Any) -> int:
    source = jsonl(tmp_path / "in.jsonl", records)
    flow = Flow(inputs=[str(source)], output=str(tmp_path / "out.jsonl"), quiet=True, **flags)
    return run_job(RUN, flow, lambda _: upper).code


def texts(number: int) -> list[Record]:
    return [{"id": str(row), "text": f"t{row}"} for row in range(number)]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_poisoned_records_cost_only_themselves(tmp_path: Path, size: int) -> None:
    records = texts(9)
    records[1]["bad"], records[4]["bad"], records[8]["bad"] = "raise", "crash", "memory"

    assert work(tmp_path, records, batch_size=size) == TOO_MANY_FAILURES

    done, failed = lines(tmp_path / "out.jsonl"), lines(tmp_path / "out.errors.jsonl")
    assert [record["id"] for record in done] == list("023567")
    assert [record["id"] for record in failed] == list("148")
    kinds = [record["_error"]["kind"] for record in failed]
    assert kinds == ["bad_answer", "model_error", "out_of_memory"]
    assert all(record["text"] for record in failed)


def test_the_errors_file_is_an_input_that_mends_the_output(tmp_path: Path) -> None:
    records = texts(4)
    records[2]["bad"] = "raise"
    work(tmp_path, records)

    mended = [
        {k: v for k, v in r.items() if k != "bad"} for r in lines(tmp_path / "out.errors.jsonl")
    ]
    jsonl(tmp_path / "mended.jsonl", mended)
    flow = Flow(
        inputs=[str(tmp_path / "mended.jsonl")],
        output=str(tmp_path / "out.jsonl"),
        resume=True,
        quiet=True,
    )

    assert run_job(RUN, flow, lambda _: upper).code == DONE
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

    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    jsonl(source, records)
    flow = Flow(inputs=[str(source)], output=str(out), batch_size=3, quiet=True)
    assert run_job(RUN, flow, lambda _: stopping).code == TRY_AGAIN
    assert not out.exists()
    assert len(lines(tmp_path / "out.jsonl.partial")) == 6  # the batch in hand was finished

    assert work(tmp_path, records, resume=True) == DONE
    assert out.read_bytes() == (tmp_path / "whole" / "out.jsonl").read_bytes()


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
        flow = Flow(
            inputs=[str(source)], output=str(tmp_path / "parts"), shard=f"{index}/3", quiet=True
        )
        assert run_job(RUN, flow, lambda _: upper).code == DONE

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
    flow = dict(inputs=[str(tmp_path / "in.jsonl")], output=str(tmp_path / "out.jsonl"), quiet=True)
    other = Run("caption", {"a": 2})

    with pytest.raises(MegastyleError, match="a was 1 and is 2"):
        run_job(other, Flow(**flow, resume=True), lambda _: upper)
    assert run_job(other, Flow(**flow, resume=True, force=True), lambda _: upper).code == DONE


def test_nothing_left_loads_no_model(tmp_path: Path) -> None:
    work(tmp_path, texts(2))

    def load(_: object) -> Any:
        raise AssertionError("a finished input must load nothing")

    flow = Flow(
        inputs=[str(tmp_path / "in.jsonl")],
        output=str(tmp_path / "out.jsonl"),
        resume=True,
        quiet=True,
    )
    assert run_job(RUN, flow, load).code == DONE


@pytest.mark.parametrize(
    "text, failed, read, fine",
    [
        ("0", 0, 9, True),
        ("0", 1, 9, False),
        ("2", 2, 9, True),
        ("10%", 1, 10, True),
        ("10%", 2, 10, False),
    ],
)
def test_tolerance(text: str, failed: int, read: int, fine: bool) -> None:
    assert tolerance(text)(failed, read) is fine


def test_a_tolerance_that_is_no_number_is_refused() -> None:
    with pytest.raises(MegastyleError, match="--max-errors"):
        tolerance("many")


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
    where = output_paths(str(tmp_path / "out.jsonl"), Shard(), folder=False)
    flags = {"resume": True, "overwrite": False, "force": False}

    with (
        resumable_sink(where, RUN, **flags),
        pytest.raises(MegastyleError, match="another process is writing"),
        resumable_sink(where, RUN, **flags),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_waiting_for_input_stops_at_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    def waiting() -> Iterator[Record]:
        yield from texts(1)
        os.kill(os.getpid(), number)
        raise AssertionError("the signal must end the wait")

    where = output_paths(str(tmp_path / "out.jsonl"), Shard(), folder=False)
    tally = Stats("caption")
    with resumable_sink(where, RUN, resume=False, overwrite=False, force=False) as sink:
        code = run_map(
            waiting(),
            upper,
            sink,
            shard=Shard(),
            tally=tally,
            progress=Progress(tally, quiet=True, to_stdout=False),
            batch_size=1,
            may_fail=tolerance("0"),
        )

    assert code == TRY_AGAIN
    assert len(lines(tmp_path / "out.jsonl.partial")) == 1


@pytest.mark.parametrize("lanes", [2, 5])
def test_lanes_change_nothing_but_the_speed(tmp_path: Path, lanes: int) -> None:
    records = texts(60)
    records[1]["bad"], records[40]["bad"] = "raise", "crash"
    made = []
    for count in (1, lanes):
        (tmp_path / str(count)).mkdir()
        assert work(tmp_path / str(count), records, batch_size=2, lanes=count) == TOO_MANY_FAILURES
        out = tmp_path / str(count)
        made.append([(out / name).read_bytes() for name in ("out.jsonl", "out.errors.jsonl")])

    assert made[0] == made[1]


def test_a_signal_ends_lanes_after_what_they_have_begun(tmp_path: Path) -> None:
    begun = []

    def stopping(batch: Iterable[Record]) -> Iterator[Record | Failure]:
        batch = list(batch)
        begun.extend(record["id"] for record in batch)
        if batch[0]["id"] == "20":
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.005)
        yield from upper(batch)

    jsonl(tmp_path / "in.jsonl", texts(400))
    flow = Flow(
        inputs=[str(tmp_path / "in.jsonl")],
        output=str(tmp_path / "out.jsonl"),
        batch_size=1,
        lanes=3,
        quiet=True,
    )
    assert run_job(RUN, flow, lambda _: stopping).code == TRY_AGAIN

    written = [record["id"] for record in lines(tmp_path / "out.jsonl.partial")]
    assert written == [str(n) for n in range(len(written))]
    assert sorted(written) == sorted(begun) and len(written) < 400

    assert work(tmp_path, texts(400), resume=True, lanes=3) == DONE
    assert [r["id"] for r in lines(tmp_path / "out.jsonl")] == [str(n) for n in range(400)]
