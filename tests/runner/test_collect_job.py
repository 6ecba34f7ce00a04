"""What is collected is written whole, or what was there before stays."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from megastyle_cli.core.errors import (
    DONE,
    TOO_MANY_FAILURES,
    TRY_AGAIN,
    BadRecord,
    MegastyleError,
)
from megastyle_cli.core.locked_file import open_locked
from megastyle_cli.core.record import Failure, Record, Run
from megastyle_cli.runner.collect_job import CollectJob
from megastyle_cli.runner.job import Source
from megastyle_cli.runner.options import OutputOptions, ReplaceOptions, ReportOptions
from tests import fork_server
from tests.conftest import jsonl, lines
from tests.crash import crash_states


def job_of(
    tmp_path: Path,
    records: list[Record],
    *,
    overwrite: bool = False,
    output: str | None = None,
    errors: str | None = None,
) -> CollectJob:
    source = jsonl(tmp_path / "in.jsonl", records)
    return CollectJob(
        Run("pair", {"seed": 0}),
        Source(inputs=[str(source)]),
        output=OutputOptions(output=output or str(tmp_path / "out.jsonl"), errors=errors),
        existing=ReplaceOptions(overwrite=overwrite),
        report=ReportOptions(quiet=True),
    )


def needs_text(record: Record) -> None:
    if "text" not in record:
        raise BadRecord("missing_key", f"{record['id']} has no text")


RECORDS: list[Record] = [{"id": "a", "text": "x"}, {"id": "b"}, {"id": "c", "text": "y"}]


def test_records_that_fail_the_check_are_failures(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS) as job:
        job.write(job.collect(needs_text).read())

    assert job.exit_code == TOO_MANY_FAILURES
    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == ["a", "c"]
    assert [record["id"] for record in lines(tmp_path / "out.errors.jsonl")] == ["b"]
    assert (job.stats.read, job.stats.written, job.stats.num_failed) == (3, 2, 1)


def test_texts_come_as_they_are_collected(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS) as job:
        texts = [text for block in job.collect_texts("text", needs_text) for text in block]
        job.write(job.spool.read())

    assert [bytes(text) for text in texts] == [b"x", b"y"]
    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == ["a", "c"]


def test_objects_are_collected_with_their_ids(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS) as job:
        ids = job.collect_objects(("text",), needs_text)
        job.write(job.spool.read())

    assert ids == ["a", "c"]
    assert (job.stats.read, job.stats.num_failed) == (3, 1)
    assert [record["id"] for record in lines(tmp_path / "out.jsonl")] == ["a", "c"]


def test_lines_of_bytes_and_late_failures_are_counted(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS) as job:
        job.collect()
        job.write([b'{"id":"a"}\n{"id":"b"}\n', Failure(RECORDS[2], "bad_image", "c is odd")])

    assert (job.stats.written, job.stats.num_failed) == (2, 1)


def test_side_outputs_are_refused_where_they_could_not_be_written_later(tmp_path: Path) -> None:
    job = job_of(tmp_path, RECORDS)
    (tmp_path / "old.jsonl").touch()

    for names in (
        [tmp_path / "out.jsonl"],
        [tmp_path / "old.jsonl"],
        [tmp_path / "new.jsonl", tmp_path / "new.jsonl"],
        [tmp_path / "missing" / "new.jsonl"],
        ["-"],
    ):
        with pytest.raises(MegastyleError):
            job.side_outputs(*names)
    new, none = job.side_outputs(tmp_path / "new.jsonl", None)
    assert new and none is None


def write_with_side_outputs(
    tmp_path: Path, to_stdout: bool = False, suffix: str = "", overwrite: bool = False
) -> None:
    output = "-" if to_stdout else str(tmp_path / f"out.jsonl{suffix}")
    job = job_of(tmp_path, RECORDS, output=output, overwrite=overwrite)
    first, second = job.side_outputs(tmp_path / f"x.jsonl{suffix}", tmp_path / "y.json")
    assert first and second
    with job:
        job.write(job.collect(needs_text).read())
        job.write_to(first, [{"id": "left", "file_name": str(tmp_path / "left.png")}])
        second.write(b"{}")


@pytest.mark.parametrize(("to_stdout", "suffix"), [(False, ""), (True, ""), (False, ".gz")])
def test_a_run_with_side_outputs_can_be_repeated_after_any_kill(
    tmp_path: Path, to_stdout: bool, suffix: str
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    last = "y.json" if to_stdout else f"out.jsonl{suffix}"
    notes_left = 0
    for folder in crash_states(whole, lambda: write_with_side_outputs(whole, to_stdout, suffix)):
        is_complete = (folder / last).exists()
        notes_left += is_complete and (folder / f".{last}.commit").exists()
        write_with_side_outputs(folder, to_stdout, suffix, overwrite=is_complete)
        assert not (folder / f".{last}.commit").exists()
        assert contents(folder) == contents(whole)
    assert notes_left  # killed just before the note was deleted


def test_a_note_that_was_left_is_deleted_by_a_run_without_side_outputs(tmp_path: Path) -> None:
    write_with_side_outputs(tmp_path)
    (tmp_path / ".out.jsonl.commit").write_text("{}")

    with job_of(tmp_path, [RECORDS[0]], overwrite=True) as job:
        job.write(job.collect(needs_text).read())

    assert not (tmp_path / ".out.jsonl.commit").exists()


def test_failures_can_go_to_a_stream(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with job_of(tmp_path, RECORDS, errors="/dev/stdout") as job:
        job.write(job.collect(needs_text).read())

    assert json.loads(capfd.readouterr().out)["id"] == "b"


def contents(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.iterdir() if path.suffix not in (".commit", ".partial")]
    return {path.name: path.read_bytes() for path in found}


def test_a_killed_run_does_not_let_the_next_overwrite_files_of_others(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    states = crash_states(whole, lambda: write_with_side_outputs(whole))
    assert any((folder / "x.jsonl").exists() for folder in states)

    for folder in states:
        if not (folder / "y.json").exists():
            (folder / "y.json").write_text("precious")
            with pytest.raises(MegastyleError, match=r"y\.json exists"):
                write_with_side_outputs(folder)


def test_outputs_are_locked_before_anything_is_read(tmp_path: Path) -> None:
    job = job_of(tmp_path, RECORDS)
    (side,) = job.side_outputs(tmp_path / "x.npy")
    assert side
    with job:
        for name in ("x.npy", "out.jsonl", "out.errors.jsonl"):
            with pytest.raises(MegastyleError, match="another process is writing"):
                open_locked(tmp_path / f"{name}.partial")
        job.write(job.collect(needs_text).read())


def test_an_error_or_a_signal_leaves_the_earlier_output(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS[:1]) as job:
        job.write(job.collect().read())
    before = (tmp_path / "out.jsonl").read_bytes()

    with pytest.raises(ZeroDivisionError), job_of(tmp_path, RECORDS, overwrite=True) as job:
        job.write(job.collect().read())
        raise ZeroDivisionError
    with (
        pytest.raises(MegastyleError, match="SIGTERM") as caught,
        job_of(tmp_path, RECORDS, overwrite=True) as job,
    ):
        job.write(job.collect().read())
        os.kill(os.getpid(), signal.SIGTERM)

    assert caught.value.exit_code == TRY_AGAIN
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl", "out.run.json"}


def test_an_existing_output_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with job_of(tmp_path, RECORDS[:1]) as job:
        job.write(job.collect().read())
    assert job.exit_code == DONE

    with pytest.raises(MegastyleError, match="exists"), job_of(tmp_path, RECORDS):
        raise AssertionError("the job must not begin")


@pytest.mark.parametrize(
    "command",
    [
        ("cluster", "--levels", 2, "--vectors", "side.npy"),
        ("dedup", "--no-semantic", "--rejected", "side.jsonl"),
    ],
)
def test_of_two_processes_with_one_side_output_one_wins_and_the_other_says_so(
    tmp_path: Path, command: tuple[object, ...]
) -> None:
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [
        fork_server.start(*command, "-o", f"{name}.jsonl", cwd=tmp_path, **pipes) for name in "ab"
    ]
    while not any(process.poll() is not None for process in processes):
        time.sleep(0.01)  # both wait for records, but for the one that is refused
    processes.sort(key=lambda process: process.returncode is None)
    records = b"".join(b'{"style":"in ink number %d"}\n' % (n % 2) for n in range(6))
    (_, refused), _ = (process.communicate(records) for process in processes)

    assert [process.returncode for process in processes] == [75, 0]
    assert b"another process is writing" in refused and refused.count(b"\n") == 2
    assert len(list(tmp_path.glob("[ab].jsonl"))) == len(list(tmp_path.glob("side.*"))) == 1


def test_a_compressed_output_has_the_records_of_its_page(tmp_path: Path) -> None:
    job = job_of(tmp_path, RECORDS, output=str(tmp_path / "out.jsonl.gz"))
    job.keeps_records = True
    with job:
        job.write(job.collect(needs_text).read())
        assert [record["id"] for record in job.records() or []] == ["a", "c"]
