"""The state of one output, from its files alone."""

import gzip
import json
from pathlib import Path

import pytest

from megastyle_cli.core.owner import acquire, owner_path
from megastyle_cli.status.part import (
    Part,
    count_lines,
    file_part,
    folder_part,
    is_image_folder,
    is_output_file,
    is_training,
    training_part,
)
from tests.core.test_owner import elsewhere, write_owner


def write(path: Path, count: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'{"id":"a"}\n' * count)


def test_a_file_of_records_is_missing_stopped_running_and_done(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    assert file_part(path) == Part(path=path, state="missing") and not is_output_file(path)

    write(tmp_path / "x.jsonl.partial", 2)
    assert file_part(path, 3) == Part(path=path, state="stopped", index=3, records=2)

    write_owner(path, elsewhere())
    running = file_part(path)
    assert (running.state, running.host, running.job) == ("running", "node7", "12_3")
    assert running.records == 2 and running.heartbeat_s is not None

    write_owner(path, elsewhere(), age_s=100)
    assert file_part(path).state == "stopped"

    owner_path(path).unlink()
    (tmp_path / "x.jsonl.partial").rename(path)
    write(tmp_path / "x.errors.jsonl", 1)
    assert file_part(path) == Part(path=path, state="done", records=2, failed=1)


def test_an_output_that_is_written_anew_is_not_done(tmp_path: Path) -> None:
    for name in ("x.jsonl", "x.jsonl.partial"):
        write(tmp_path / name, 1)

    assert file_part(tmp_path / "x.jsonl").state == "stopped"


def test_a_process_of_this_machine_runs_while_it_holds_the_output(tmp_path: Path) -> None:
    owner = acquire(tmp_path / "x.jsonl")
    assert file_part(tmp_path / "x.jsonl").state == "running"
    owner.release()

    assert file_part(tmp_path / "x.jsonl").state == "missing"


def test_failures_of_a_run_are_counted_while_it_runs(tmp_path: Path) -> None:
    for name in ("x.jsonl.partial", "x.errors.jsonl.partial"):
        write(tmp_path / name, 1)

    assert file_part(tmp_path / "x.jsonl").failed == 1


def test_a_folder_of_images_is_judged_by_its_listing(tmp_path: Path) -> None:
    assert not is_image_folder(tmp_path)
    write(tmp_path / "metadata.jsonl.partial", 3)
    assert is_image_folder(tmp_path) and folder_part(tmp_path).state == "stopped"

    (tmp_path / "metadata.jsonl.partial").rename(tmp_path / "metadata.jsonl")
    write(tmp_path / "errors.jsonl", 2)
    assert folder_part(tmp_path, 1) == Part(
        path=tmp_path, state="done", index=1, records=3, failed=2
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "checkpoints" / "step-00000003").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"options": {"steps": 5}}))
    (folder / "latest").symlink_to("checkpoints/step-00000003")
    return folder


def test_a_training_is_done_once_it_has_exported_its_last_step(run: Path) -> None:
    assert is_training(run)
    assert training_part(run) == Part(path=run, state="stopped", step=3, steps=5)

    (run / "encoder").mkdir()
    assert training_part(run).state == "stopped", "an export of fewer steps"

    (run / "checkpoints" / "step-00000005").mkdir()
    (run / "latest").unlink()
    (run / "latest").symlink_to("checkpoints/step-00000005")
    assert training_part(run) == Part(path=run, state="done", step=5, steps=5)

    write_owner(run / "run.json", elsewhere())
    assert training_part(run).state == "running"


def test_a_training_of_which_little_can_be_read_has_a_state(run: Path) -> None:
    (run / "run.json").write_text("{")
    (run / "latest").unlink()

    assert training_part(run) == Part(path=run, state="stopped", step=0)


def test_complete_lines_are_counted_also_in_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1\n2\n3")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"1\n2\n"))

    assert [count_lines(tmp_path / name) for name in ("a", "b.gz", "none")] == [2, 2, 0]


def test_json_has_only_what_is_known(tmp_path: Path) -> None:
    part = Part(path=tmp_path, state="missing", index=0)

    assert part.as_dict() == {"path": str(tmp_path), "state": "missing", "index": 0, "failed": 0}
