"""One picture to a file or standard output, of exactly one record."""

from pathlib import Path

import pytest
from PIL import Image

from megastyle_cli.core.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.formats import WRITTEN_PICTURES
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.writers.single_image import (
    SingleImageFile,
    is_single_image,
    read_transfer_request,
    require_success,
)
from tests.conftest import draw, jsonl


@pytest.mark.parametrize(
    ("output", "is_single"),
    [("-", True), ("a.PNG", True), ("x/a.tiff", True), ("out", False), ("a.jsonl", False)],
)
def test_an_output_is_one_picture_by_its_name(output: str, is_single: bool) -> None:
    assert is_single_image(output) is is_single


def test_a_prompt_becomes_the_content_of_the_record(pictures: Path) -> None:
    request = read_transfer_request([], str(pictures / "0.png"), "a frog")

    assert request["content"] == "a frog" and request["file_name"] == str(pictures / "0.png")
    assert read_transfer_request([], None, "a frog")["content"] == "a frog"


@pytest.mark.parametrize(
    ("count", "why"), [(0, "no input for one image"), (2, "more than one input")]
)
def test_there_must_be_one_record(tmp_path: Path, count: int, why: str) -> None:
    records = jsonl(tmp_path / "m.jsonl", [{"id": str(n)} for n in range(count)])

    with pytest.raises(MegastyleError, match=why):
        read_transfer_request([str(records)], None, None)


def test_words_in_place_of_a_picture_are_recognized(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="no image 'a green frog'") as caught:
        read_transfer_request(["a green frog"], None, None)
    assert '--prompt "a green frog"' in caught.value.hint
    with pytest.raises(MegastyleError, match="does not exist"):
        read_transfer_request(["a frog.png"], None, None)
    with pytest.raises(MegastyleError, match="nothing to restyle"):
        read_transfer_request([], None, None)


def test_an_existing_file_is_replaced_only_on_request(tmp_path: Path) -> None:
    output = tmp_path / "a.png"
    SingleImageFile(str(output), overwrite=False).save_image("a", draw(1))
    before = output.read_bytes()

    with pytest.raises(MegastyleError, match="a.png exists"):
        SingleImageFile(str(output), overwrite=False)
    assert output.read_bytes() == before
    assert SingleImageFile(str(output), overwrite=True).save_image("a", draw(2)) == str(output)
    assert output.read_bytes() != before


def test_a_failed_record_ends_the_run() -> None:
    require_success([{"id": "a"}])
    for results in ([Failure({"id": "a"}, "bad_image", "a is empty")], raising()):
        with pytest.raises(MegastyleError, match="a is empty") as caught:
            require_success(results)
        assert caught.value.exit_code == TOO_MANY_FAILURES


def raising():
    raise BadRecord("bad_image", "a is empty")
    yield


@pytest.mark.parametrize("suffix", WRITTEN_PICTURES)
def test_the_suffix_says_the_format_and_is_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    SingleImageFile(str(path), overwrite=False).save_image("a", draw(1))

    with Image.open(path) as image:
        assert image.format == WRITTEN_PICTURES[suffix]
    assert open_picture(str(path)).size == draw(1).size
