"""What all containers have in common."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.inputs import read_records
from tests.conftest import Runner, lines
from tests.io.readers.samples import (
    SAMPLES,
    as_files,
    as_parquet,
    as_tar,
    but,
    whole,
)


@pytest.mark.parametrize("has_id", [True, False])
def test_files_parquet_and_tar_give_the_same_records(tmp_path: Path, has_id: bool) -> None:
    samples = SAMPLES if has_id else but(SAMPLES, "id")
    files = whole(as_files(tmp_path / "files", samples))
    rows = whole(as_parquet(tmp_path / "x.parquet", samples))
    members = whole(as_tar(tmp_path / "x.tar", samples))

    assert [r["key"] for r in members] == [f"{n:04}" for n in range(7)]
    assert but(members, "file_name", "key") == but(files, "file_name")
    assert but(rows, "file_name", "style_id", "content_id") == but(files, "file_name")
    for same in zip(files, rows, members, strict=True):
        first, *others = [open_picture(record["file_name"]).tobytes() for record in same]
        assert others == [first, first]


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
@pytest.mark.parametrize("content", [b"", b"no container at all" * 99])
def test_what_is_no_container_is_refused_at_once(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    (tmp_path / f"x.{suffix}").write_bytes(content)

    with pytest.raises(MegastyleError, match=rf"x\.{suffix} is (empty|not )"):
        read_records([str(tmp_path / f"x.{suffix}")])


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_a_command_reads_a_container_to_the_end(
    megastyle: Runner, tmp_path: Path, suffix: str
) -> None:
    path = (as_tar if suffix == "tar" else as_parquet)(tmp_path / f"x.{suffix}")

    ended = megastyle("caption", "--kind", "style", path, "-o", tmp_path / "captions.jsonl")

    assert ended.returncode == 0, ended.stderr.decode()
    records = lines(tmp_path / "captions.jsonl")
    assert [record["id"] for record in records] == [sample["id"] for sample in SAMPLES]
    assert records[2]["file_name"].startswith(f"x.{suffix}#")
