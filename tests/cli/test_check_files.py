"""Files that a command line names are compared before any work: inputs, outputs, streams."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from megastyle_cli.cli.check_files import check_files
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.option import option


@dataclass(frozen=True, kw_only=True)
class Files:
    """Options that name files in every way."""

    inputs: list[str] | None = option(None, is_argument=True, file="input")
    contents: list[str] | None = option(None, file="input")
    vectors_from: Path | None = option(None, file="whole input")
    output: str = option("-", "-o", "--output", file="output")
    stats: Path | None = option(None, file="output")
    pack: Path | None = option(None, file="output folder")
    level: str = option("x")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, links and a FIFO, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.jsonl", "b.jsonl", "photos/1.png"):
        Path(name).write_text(name)
    Path("link.jsonl").symlink_to("a.jsonl")
    os.link("a.jsonl", "hard.jsonl")
    Path("album").symlink_to("photos")
    os.mkfifo("fifo")
    return tmp_path


@pytest.mark.parametrize("output", ["a.jsonl", "link.jsonl", "hard.jsonl", "photos/../a.jsonl"])
def test_an_output_on_top_of_an_input_is_refused(output: str) -> None:
    with pytest.raises(MegastyleError, match="is both input and output"):
        check_files([Files(inputs=["a.jsonl"], output=output)])
    with pytest.raises(MegastyleError, match="is both input and output"):
        check_files([Files(inputs=["b.jsonl"], contents=["a.jsonl"], stats=Path(output))])


@pytest.mark.parametrize(
    "output", ["photos", "photos/x.jsonl", "album/new/x.jsonl", "photos/1.png"]
)
def test_an_output_inside_an_input_folder_is_refused(output: str) -> None:
    for source in ("photos", "album"):
        with pytest.raises(MegastyleError, match=r"lies in|both input and output"):
            check_files([Files(inputs=[source], output=output)])


def test_outputs_differ() -> None:
    with pytest.raises(MegastyleError, match="is an output already, of --output"):
        check_files([Files(output="x.jsonl", stats=Path("photos/../x.jsonl"))])
    with pytest.raises(MegastyleError, match="is an output already"):
        check_files([Files(stats=Path("/dev/stdout"))])  # with the records


@pytest.mark.parametrize("name", ["fifo", "-", "/dev/stdin", "/dev/fd/0"])
def test_a_stream_is_read_once(name: str) -> None:
    second = "/dev/stdin" if name == "-" else name
    with pytest.raises(MegastyleError, match="can be read only once"):
        check_files([Files(inputs=[name], contents=[second])])


def test_a_stream_is_not_read_whole_and_is_no_folder() -> None:
    with pytest.raises(MegastyleError, match="fifo is not a regular file"):
        check_files([Files(vectors_from=Path("fifo"))])
    for name in ("fifo", "a.jsonl"):
        with pytest.raises(MegastyleError, match="is not a directory"):
            check_files([Files(pack=Path(name))])


def test_everything_else_is_left_to_the_command() -> None:
    check_files([])
    check_files([Files(inputs=["fifo", "none.jsonl", "a.jsonl", "a.jsonl"], output="fifo")])
    check_files([Files(inputs=["photos/1.png"], output="photos/x.jsonl", pack=Path("new"))])
    check_files([Files(output="/dev/stderr", stats=Path("/dev/stderr"))])


@pytest.mark.parametrize(
    "files", [Files(inputs=["https://host/a b.jpg"]), Files(contents=["S3://bucket/a"])]
)
def test_a_url_is_to_be_downloaded_first(files: Files) -> None:
    with pytest.raises(MegastyleError, match="is a URL") as error:
        check_files([files])

    assert error.value.hint.startswith("download it first: curl -LO ")
