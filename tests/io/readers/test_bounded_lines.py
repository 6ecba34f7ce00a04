"""Lines are bounded, numbered rightly, and none that comes before damage is lost."""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core import limits
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.readers.bounded_lines import BadLine, bounded_blocks, bounded_lines
from megastyle_cli.io.readers.compressed import open_decompressed

LIMIT = 8


@pytest.fixture(autouse=True, scope="module")
def small_limit() -> Iterator[None]:
    before = limits.max_item_bytes()
    limits.set_max_item_size(str(LIMIT))
    yield
    limits.set_max_item_size(str(before))


@given(st.lists(st.integers(0, 3 * LIMIT)), st.booleans(), st.integers(1, 40))
def test_a_line_over_the_limit_is_one_bad_line_and_the_others_are_whole(
    lengths: list[int], ends: bool, size: int
) -> None:
    content = b"\n".join(b"x" * length for length in lengths) + b"\n" * ends
    expected = [line if len(line) <= LIMIT else None for line in content.split(b"\n")]
    if expected[-1] == b"":
        expected.pop()

    found = list(bounded_lines(io.BytesIO(content), "f"))
    blocks = list(bounded_blocks(io.BufferedReader(io.BytesIO(content)), "f", size))  # type: ignore[arg-type]

    assert [None if isinstance(line, BadLine) else line.rstrip(b"\n") for line in found] == expected
    in_blocks: list[bytes | None] = []
    for block in blocks:
        if isinstance(block, BadLine):
            in_blocks.append(None)
        else:
            assert block.endswith(b"\n")
            in_blocks += block[:-1].split(b"\n")
    assert in_blocks == expected


def test_a_bad_line_says_the_limit_and_the_option() -> None:
    (line,) = bounded_lines(io.BytesIO(b"x" * 99), "f")

    assert line == BadLine("is more than 8: give a larger --max-item-size to read it")


@pytest.mark.parametrize("read", [bounded_lines, lambda f, n: bounded_blocks(f, n, 1 << 20)])
def test_lines_before_damage_are_kept(tmp_path: Path, read: object) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(b"a\nb\n") + b"junk")

    with open_decompressed(path) as file:
        *lines, last = read(file, "x.gz")  # type: ignore[operator]

    assert b"".join(lines) == b"a\nb\n"
    assert isinstance(last, BadLine) and last.reason.startswith("is cut off or damaged: ")


@pytest.mark.parametrize("read", [bounded_lines, lambda f, n: bounded_blocks(f, n, 1 << 20)])
def test_a_file_that_is_damaged_from_its_beginning_is_refused(tmp_path: Path, read: object) -> None:
    (tmp_path / "x.gz").write_bytes(b"<html>")

    with (
        open_decompressed(tmp_path / "x.gz") as file,
        pytest.raises(MegastyleError, match="x.gz is cut off or damaged: "),
    ):
        list(read(file, "x.gz"))  # type: ignore[operator]
