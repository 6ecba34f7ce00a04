"""The table of parts: short however many there are, and unusual ones are seen."""

from pathlib import Path

from megastyle_cli.io.shard_note import ShardNote
from megastyle_cli.status.output_status import OutputStatus
from megastyle_cli.status.part import Part
from megastyle_cli.status.table import MANY, as_table

RUNNING = {"host": "node7", "pid": 41, "heartbeat_s": 4}


def output_of(*parts: Part) -> OutputStatus:
    tasks = ShardNote(count=len(parts))
    return OutputStatus(path=Path("captions"), parts=list(parts), tasks=tasks)


def part(index: int, state: str, **more: object) -> Part:
    return Part(path=Path(f"captions/{index}"), state=state, index=index, **more)  # type: ignore[arg-type]


def test_equal_parts_share_a_line_and_unusual_ones_have_their_own():
    done = [part(n, "done", records=1000) for n in range(60)]
    unusual = [
        part(60, "done", records=990, failed=10),
        part(61, "running", records=187, job="812_61", **RUNNING),
        part(62, "running", **RUNNING),
        part(63, "stopped", records=1),
    ]

    table = as_table([output_of(*done, *unusual, part(64, "missing"), part(65, "missing"))])

    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert lines == [
        "captions: 66 parts: 61 done, 2 running, 1 stopped, 2 missing; 61,178 records, 10 failed",
        "0-59 done 60,000 records",
        "60 done 990 records 10 failed",
        "61 running 187 records Slurm job 812_61 on node7, heartbeat 4 s ago",
        "62 running process 41 on node7, heartbeat 4 s ago",
        "63 stopped 1 record",
        "64-65 missing",
        "submit again: sbatch --array=63-65",
    ]


def test_many_unusual_parts_share_a_line():
    running = [part(n, "running", records=1, **RUNNING) for n in range(MANY + 1)]

    table = as_table([output_of(*running)])

    assert len(table.splitlines()) == 2
    assert "1 host, oldest heartbeat 4 s ago" in table


def test_an_output_without_parts_is_one_line():
    file = Part(path=Path("x.jsonl"), state="done", records=3, failed=1)
    training = Part(path=Path("runs/enc"), state="stopped", step=300, steps=1000)

    table = as_table([OutputStatus(path=each.path, parts=[each]) for each in (file, training)])

    assert table == "x.jsonl: done, 3 records, 1 failed\nruns/enc: stopped, step 300 of 1,000\n"
