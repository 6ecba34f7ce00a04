"""Rows of an index are found without reading all of them, as they were written or not at all."""

from pathlib import Path

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.retrieval.index_file import SavedIndex, read_index, rows_of
from megastyle_cli.retrieval.index_writer import encode_row
from megastyle_cli.retrieval.row_lookup import SAMPLE_BYTES, SAMPLES, digest_of_identities
from megastyle_cli.retrieval.style_index import StyleIndex
from tests.retrieval.small_index import add, open_writer, record

LARGE = SAMPLES * SAMPLE_BYTES // 12 * 3  # rows of 12 bytes, three times what a sample reads


def opened(saved: SavedIndex) -> StyleIndex:
    return StyleIndex(
        vectors=saved.vectors,
        ids=saved.ids,
        file_names=saved.file_names,
        model="some",
        lookup=saved.lookup,
    )


def without_lookup(folder: Path) -> SavedIndex:
    (folder / "lookup.bin").rename(folder / "gone")
    found = read_index(folder)
    (folder / "gone").rename(folder / "lookup.bin")
    assert found.lookup is None
    return found


def test_rows_are_the_same_with_and_without_it(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "x")
    for number in [*range(7), 3]:
        picture = "another" if number == 2 else f"id{number}"
        writer.write(encode_row({**record(number), "picture_id": picture}))
    writer.commit()
    writer.close()
    all_read, saved = without_lookup(tmp_path / "x"), read_index(tmp_path / "x")

    assert saved.lookup is not None
    assert list(saved.ids) == list(all_read.ids)
    assert list(saved.file_names) == list(all_read.file_names)
    assert saved.identity == all_read.identity
    names = [*(f"id{number}" for number in (0, 1)), "id2 another"]
    names += [f"id{number}" for number in (3, 4, 5, 6, 3)]
    assert saved.identity == digest_of_identities(iter(names))
    quick, slow = opened(saved), opened(all_read)
    assert quick.fingerprint == slow.fingerprint
    for own in ("id3", "id6", "id7"):
        assert quick.rows_of(own) == slow.rows_of(own)
    assert quick.rows_of("id3") == [3, 7]


def test_ids_of_one_checksum_are_told_apart(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "x")
    for number, name in enumerate(("plumless", "buckeroo")):  # of one CRC-32
        writer.write(encode_row({**record(number), "id": name, "picture_id": name}))
    writer.commit()
    writer.close()

    index = opened(read_index(tmp_path / "x"))

    assert index.lookup is not None and len(set(index.lookup.hashes.tolist())) == 1
    assert [index.rows_of(name) for name in ("plumless", "buckeroo", "x")] == [[0], [1], []]


def test_it_is_made_again_for_an_index_that_has_none(tmp_path: Path) -> None:
    add(tmp_path / "x", range(3))
    for name in ("lookup.bin", "lookup.bin.json"):
        (tmp_path / "x" / name).unlink()
    saved = read_index(tmp_path / "x")
    assert saved.lookup is None

    saved.keep_lookup()

    again = read_index(tmp_path / "x")
    assert again.lookup is not None and again.identity == saved.identity


def test_rows_added_later_are_in_it(tmp_path: Path) -> None:
    add(tmp_path / "x", range(3))
    add(tmp_path / "x", range(3, 5))

    saved = read_index(tmp_path / "x")

    assert saved.lookup is not None
    assert list(saved.ids) == [f"id{number}" for number in range(5)]


@pytest.mark.parametrize("name", ["vectors.f32", "records.jsonl"])
def test_files_that_have_changed_are_read_in_full(tmp_path: Path, name: str) -> None:
    add(tmp_path / "x", range(3))
    content = bytearray((tmp_path / "x" / name).read_bytes())
    content[9] ^= 1
    (tmp_path / "x" / name).write_bytes(content)

    assert read_index(tmp_path / "x").lookup is None


def test_a_row_that_the_sample_missed_is_refused_once_it_is_found(tmp_path: Path) -> None:
    add(tmp_path / "x", range(LARGE))
    gap = SAMPLE_BYTES // 12 + 2  # behind the first sample
    with (tmp_path / "x" / "vectors.f32").open("r+b") as file:
        file.seek(12 * gap)
        file.write(np.full(3, 7, "<f4").tobytes())
    index = opened(read_index(tmp_path / "x"))
    assert index.lookup is not None

    with pytest.raises(MegastyleError, match=f"row {gap} of the index has norm 12"):
        index.search(np.eye(1, 3, dtype=np.float32), 2)


def test_a_line_that_the_sample_missed_is_refused_once_it_is_read(tmp_path: Path) -> None:
    add(tmp_path / "x", range(LARGE))
    path = tmp_path / "x" / "records.jsonl"
    line = SAMPLE_BYTES // 33 + 3
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"id"', b'"no"')
    path.write_bytes(b"".join(lines))
    saved = read_index(tmp_path / "x")
    assert saved.lookup is not None and saved.ids[line - 1] == f"id{line - 1}"

    with pytest.raises(MegastyleError, match=rf"records\.jsonl line {line + 1} is not a record"):
        saved.ids[line]


def test_rows_that_have_not_length_1_have_none(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "x")
    writer.write(encode_row({**record(0), "vector": np.array([2.0, 0, 0])}))
    writer.commit()
    writer.close()

    saved = read_index(tmp_path / "x")

    assert saved.lookup is None
    with pytest.raises(MegastyleError, match="row 0 of the index has norm 2"):
        opened(saved)


def test_a_shortened_lookup_is_damage(tmp_path: Path) -> None:
    add(tmp_path / "x", range(3))
    (tmp_path / "x" / "lookup.bin").write_bytes(b"")

    with pytest.raises(MegastyleError, match=r"lookup\.bin is damaged"):
        read_index(tmp_path / "x")


def test_the_files_of_rows_are_those_of_the_header(tmp_path: Path) -> None:
    add(tmp_path / "x", range(3))
    saved = read_index(tmp_path / "x")

    files = rows_of(tmp_path / "x", saved.header)

    assert (files.count, files.width, files.vectors.name) == (3, 3, "vectors.f32")
    assert files.records_bytes == (tmp_path / "x" / "records.jsonl").stat().st_size
