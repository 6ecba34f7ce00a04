"""Compressed outputs are read back, are the same in every run, and appear whole."""

from pathlib import Path

import pytest

from megastyle_cli.core.atomic_file import AtomicFile
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.inputs import read_records
from megastyle_cli.io.writers.compressor import compressor_for
from megastyle_cli.io.writers.stream import atomic_output, resumable_output

LINES = [b'{"id":"a"}\n', b'{"id":"b"}\n']


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst", ".GZ"])
def test_lines_come_back_and_their_bytes_do_not_depend_on_flushes(
    tmp_path: Path, suffix: str
) -> None:
    written = []
    for name, flushes in (("one", False), ("two", True)):
        path = tmp_path / f"{name}.jsonl{suffix}"
        output = atomic_output(path, overwrite=False)
        output.open()
        for line in LINES:
            output.write(line)
            if flushes:
                output.flush()
        assert not path.exists()
        output.commit()
        output.close()
        written.append(path.read_bytes())
        assert [record["id"] for record in read_records([str(path)])] == ["a", "b"]

    assert written[0] == written[1] != b"".join(LINES)
    assert not list(tmp_path.glob("*.partial"))


def test_an_empty_output_is_an_empty_stream(tmp_path: Path) -> None:
    output = atomic_output(tmp_path / "a.jsonl.gz", overwrite=False)
    output.open()
    output.commit()

    assert list(read_records([str(tmp_path / "a.jsonl.gz")])) == []


def test_a_plain_name_is_not_compressed_and_a_compressed_output_is_not_resumed(
    tmp_path: Path,
) -> None:
    assert compressor_for(Path("a.jsonl")) is None
    path = tmp_path / "a.jsonl.gz"
    assert isinstance(resumable_output(path, resume=False, overwrite=False), AtomicFile)
    with pytest.raises(MegastyleError, match="is compressed, which cannot be resumed"):
        resumable_output(path, resume=True, overwrite=False)
