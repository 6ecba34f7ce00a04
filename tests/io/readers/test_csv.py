"""CSV and TSV: rows are records, a column of paths names the picture."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import PATH_KEYS, Failure
from megastyle_cli.io.inputs import count_records, read_records
from megastyle_cli.io.readers import csv as csv_reader
from tests.io.readers.samples import (
    whole,
)


@pytest.mark.parametrize("column", ["file_name", "path", "image"])
@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
def test_a_table_with_a_column_of_paths_gives_records(
    pictures: Path, column: str, suffix: str, mark: str
) -> None:
    rows = [f"{column}|title|year", '0.png|"a |b"|1998', "1.png||7"]
    text = "\r\n".join(rows).replace("|", mark)
    (pictures / f"t.{suffix}").write_text(text, encoding="utf-8-sig")

    first, second = whole(pictures / f"t.{suffix}")

    assert first["title"] == f"a {mark}b" and first["year"] == "1998"
    assert Path(first["file_name"]).samefile(pictures / "0.png") and len(first["id"]) == 16
    assert "title" not in second
    assert count_records([str(pictures / f"t.{suffix}")]) is None


def test_a_row_of_another_length_fails_alone(pictures: Path) -> None:
    (pictures / "t.csv").write_text("path,n\n0.png,1\n1.png\n\n2.png,2,3\n3.png,4\n")

    found = list(read_records([str(pictures / "t.csv")]))

    assert [isinstance(one, Failure) for one in found] == [False, True, True, False]
    assert isinstance(found[1], Failure) and "has 1 cells, the header has 2" in found[1].message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no header line with column names"),
        (b"a,a\n", "two columns named 'a'"),
        (b"a\xff\n", "not UTF-8"),
        ("a,b\n".encode("utf-16"), "is UTF-16"),
        (b"file_name;style\n", "cells are separated by semicolons"),
        (b"file_name\tstyle\n", "cells are separated by tabs"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(MegastyleError, match=why):
        whole(tmp_path / "t.csv")


# a carriage return inside a cell is written as it is, and read as the end of a line
CELLS = st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), max_size=9)
COLUMNS = st.lists(
    st.from_regex(r"[a-z]{1,5}", fullmatch=True).filter(lambda name: name not in PATH_KEYS),
    min_size=1,
    max_size=4,
    unique=True,
)


@given(COLUMNS, st.data(), st.sampled_from([("csv", ","), ("tsv", "\t")]))
def test_written_cells_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    data: st.DataObject,
    form: tuple[str, str],
) -> None:
    suffix, separator = form
    row = st.lists(CELLS, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row.filter(any)))
    path = tmp_path_factory.mktemp("table") / f"t.{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows([names, *rows])

    found = list(csv_reader.read(path))

    expected = [{n: cell for n, cell in zip(names, cells, strict=True) if cell} for cells in rows]
    assert found == expected


def test_a_cell_of_any_length_under_the_limit_is_read(tmp_path: Path) -> None:
    words = "word " * 30_000
    (tmp_path / "t.csv").write_text(f"text\na\n{words}\nb\n")

    assert [record["text"] for record in whole(tmp_path / "t.csv")] == ["a", words, "b"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"x" * 3000, "row 2 is more than 2K: give a larger --max-item-size"),
        (b"caf\xe9", "row 2 is not UTF-8: byte 3 is 0xe9"),
    ],
)
def test_a_row_that_is_not_readable_loses_no_other(
    tmp_path: Path, row: bytes, why: str, item_size: Callable[[str], None]
) -> None:
    item_size("2K")
    (tmp_path / "t.csv").write_bytes(b"text\na\n" + row + b"\nb\n")

    first, failure, *_, last = csv_reader.read(tmp_path / "t.csv")

    assert first == {"text": "a"} and last == {"text": "b"}
    assert isinstance(failure, Failure) and why in failure.message


def test_a_cell_of_many_lines_is_bounded_too(
    tmp_path: Path, item_size: Callable[[str], None]
) -> None:
    item_size("2K")
    (tmp_path / "t.csv").write_bytes(b'text\na\n"' + b"x\n" * 1500 + b'"\n')

    first, failure, *_ = csv_reader.read(tmp_path / "t.csv")

    assert first == {"text": "a"}
    assert (
        isinstance(failure, Failure) and "row 2 has a cell that is more than 2K" in failure.message
    )


def test_carriage_returns_end_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\r1,"x\ry"\r2,z\r')

    assert list(csv_reader.read(tmp_path / "t.csv")) == [
        {"a": "1", "b": "x\ry"},
        {"a": "2", "b": "z"},
    ]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_quote_that_is_not_closed_is_no_cell_with_the_rest_of_the_file(
    tmp_path: Path, end: str
) -> None:
    (tmp_path / "t.csv").write_text(f'a,b\n1,2\n3,"4\n5,6{end}')

    first, failure = csv_reader.read(tmp_path / "t.csv")

    assert first == {"a": "1", "b": "2"}
    assert (
        isinstance(failure, Failure) and "row 2 opens a quote that is not closed" in failure.message
    )
