"""A power cut loses nothing that a line names: what is on disk the moment after a command."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from megastyle_cli.io.writers.image_dataset import is_whole_picture
from tests.conftest import Runner, draw, jsonl, lines

SIZE_BYTES = 16 << 20


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[None]:
    """The file system in the file `image` at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-o", "loop", image, folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file with an empty ext4 file system."""
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("needs root and mkfs.ext4")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    try:
        with mounted(path, tmp_path / "probe"):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs loop devices: {error.stderr.decode()}")
    return path


@pytest.mark.parametrize("container", ["folder", "webdataset"])
def test_everything_is_on_disk_when_a_command_ends(
    megastyle: Runner, tmp_path: Path, disk: Path, container: str
) -> None:
    for n in range(4):
        draw(n).save(tmp_path / f"{n}.png")
    asked = [{"id": str(n), "file_name": f"{n}.png"} for n in range(4)]
    records = jsonl(tmp_path / "in.jsonl", asked)
    flags = ("--style", tmp_path / "0.png", "--size", 32, "--batch-size", 2, "--format", container)
    with mounted(disk, tmp_path / "now"):
        out = tmp_path / "now" / "out"
        views = ("--stats", tmp_path / "now" / "stats.json", "--page", tmp_path / "now" / "p.html")
        ended = megastyle("transfer", records, *flags, *views, "-o", out)
        shutil.copyfile(disk, tmp_path / "copy")  # as a power cut would leave the disk
        files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert ended.returncode == 0, ended.stderr.decode()

    with mounted(tmp_path / "copy", tmp_path / "later"):
        out = tmp_path / "later" / "out"
        assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == files
        assert json.loads((tmp_path / "later" / "stats.json").read_text())["out"] == 4
        assert (tmp_path / "later" / "p.html").read_text().rstrip().endswith("</html>")
        names = [record["file_name"] for record in lines(out / "metadata.jsonl")]
        assert len(names) == 4
        assert container != "folder" or all(is_whole_picture(out / name) for name in names)
