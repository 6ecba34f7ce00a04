"""Compressed files: every stream in them is read, and damage is an error, never a shorter file."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.io.readers.compressed import open_decompressed

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd.compress,
}
PADDED = (".gz", ".xz")  # these formats allow zero bytes behind a stream
every_suffix = pytest.mark.parametrize("suffix", COMPRESS)


def content_of(path: Path) -> bytes:
    with open_decompressed(path) as file:
        return file.read()


@every_suffix
@settings(max_examples=20)
@given(
    parts=st.lists(st.binary(max_size=300_000), min_size=1, max_size=3),
    size=st.integers(1, 100_000),
)
def test_streams_are_read_one_after_another(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, parts: list[bytes], size: int
) -> None:
    path = tmp_path_factory.mktemp("packed") / f"x{suffix}"
    path.write_bytes(b"".join(map(COMPRESS[suffix], parts)))

    assert content_of(path) == b"".join(parts)
    with open_decompressed(path) as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == b"".join(parts)
    with open_decompressed(path) as file:
        assert list(file) == list(io.BytesIO(b"".join(parts)))


@every_suffix
@pytest.mark.parametrize("kept", [3, -1, -9])
def test_a_stream_that_is_cut_off_is_an_error(tmp_path: Path, suffix: str, kept: int) -> None:
    first, second = COMPRESS[suffix](b"a" * 999), COMPRESS[suffix](b"b" * 999)
    path = tmp_path / f"x{suffix}"

    for content in (first + second[:kept], second[:kept]):
        path.write_bytes(content)
        with pytest.raises(MegastyleError, match=f"x{suffix} is cut off or damaged"):
            content_of(path)


@every_suffix
@pytest.mark.parametrize("junk", [b"<html>502 bad gateway</html>", b"\0" * 8 + b"junk"])
def test_anything_else_behind_a_stream_is_an_error(
    tmp_path: Path, suffix: str, junk: bytes
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(COMPRESS[suffix](b"a" * 999) + junk)

    with pytest.raises(MegastyleError, match="cut off or damaged"):
        content_of(path)


@every_suffix
def test_zero_bytes_are_padding_where_the_format_has_any(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    stream = COMPRESS[suffix](b"a" * 999)
    path.write_bytes(stream + bytes(1 << 17) + stream + bytes(4))

    if suffix in PADDED:
        assert content_of(path) == b"a" * 1998
    else:
        with pytest.raises(MegastyleError, match="cut off or damaged"):
            content_of(path)


def test_padding_of_xz_is_a_multiple_of_four(tmp_path: Path) -> None:
    path = tmp_path / "x.xz"
    path.write_bytes(lzma.compress(b"a") + bytes(6))

    with pytest.raises(MegastyleError, match="6 zero bytes"):
        content_of(path)


def test_a_file_without_such_a_suffix_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b"\x1f\x8b plain")

    assert content_of(tmp_path / "x.jsonl") == b"\x1f\x8b plain"
