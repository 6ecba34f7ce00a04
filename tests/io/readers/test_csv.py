"""Tables of paths, packed lines and the attributes beside the 8M release become whole records."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Record
from megastyle_cli.io.inputs import count_records, read_records
from megastyle_cli.io.readers.jsonl import dump_line
from tests.conftest import Runner, draw, lines

RELEASED = [
    *("overall artistic style", "dominant colors", "supporting colors", "light"),
    *("visual pattern", "surface status", "medium", "brushwork", "edge rendering"),
]


def whole(*inputs: object) -> list[Record]:
    found = list(read_records([str(name) for name in inputs]))
    assert not [one for one in found if isinstance(one, Failure)]
    return found  # type: ignore[return-value]


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


def test_a_metadata_csv_lists_the_pictures_of_its_folder(pictures: Path) -> None:
    (pictures / "metadata.csv").write_text("file_name,text\n3.png,frog\n")

    (record,) = whole(pictures)

    assert Path(record["file_name"]).samefile(pictures / "3.png") and record["text"] == "frog"


def test_a_row_of_another_length_fails_alone(pictures: Path) -> None:
    (pictures / "t.csv").write_text("path,n\n0.png,1\n1.png\n\n2.png,2,3\n3.png,4\n")

    found = list(read_records([str(pictures / "t.csv")]))

    assert [isinstance(one, Failure) for one in found] == [False, True, True, False]
    assert isinstance(found[1], Failure) and "has 1 cells, the head has 2" in found[1].message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no line with names"),
        (b"a,a\n", "two columns called 'a'"),
        (b"a\n\xff\n", "not UTF-8"),
    ],
)
def test_what_is_no_table_is_said(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(MegastyleError, match=why):
        whole(tmp_path / "t.csv")


def zst(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(zstd.compress(part) for part in parts))
    return path


def test_lines_in_zst_frames_are_read_as_one(tmp_path: Path) -> None:
    records = [{"id": str(n), "style": f"ink {n}" * 50} for n in range(5000)]
    packed = b"".join(map(dump_line, records))

    assert whole(zst(tmp_path / "x.jsonl.zst", packed[:70_001], packed[70_001:])) == records


@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_damaged_zst_does_not_look_like_a_short_one(tmp_path: Path, damage: str) -> None:
    noise = b"".join(dump_line({"id": str(n * 7919)}) for n in range(3000))
    path = zst(tmp_path / "x.jsonl.zst", noise)
    content = path.read_bytes()
    path.write_bytes(content[:-50] if damage == "cut" else b"no zstandard at all")

    with pytest.raises(MegastyleError, match="cut off"):
        whole(path)


def release(folder: Path, shards: tuple[int, ...], styles: int, per_style: int = 8) -> Path:
    """Parquet files of so many rows and the table beside them; some values are N/A."""
    folder.mkdir()
    buffer = io.BytesIO()
    draw(1).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": "x.jpg"}
    first = 0
    for number, count in enumerate(shards):
        rows = [
            {"id": f"s{1 + row // per_style}_c{row}", "image": image, "style": "ink"}
            for row in range(first, first + count)
        ]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"train-{number:05}.parquet")
        first += count
    with (folder / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        table.writerow(RELEASED)
        for n in range(styles):
            odd = "N/A" if n % 2 else "fine, grain"
            table.writerow([f"style {n}", "teal", "N/A", "soft", odd, "matte", "ink", "", "sharp"])
    return folder


@pytest.mark.parametrize("shards", [(40,), (12, 28), (3, 3, 34)])
def test_the_table_of_the_release_is_joined_by_position(
    tmp_path: Path, shards: tuple[int, ...]
) -> None:
    records = whole(release(tmp_path / "r", shards, styles=5))

    assert [r["style_identity"] for r in records] == [f"style {row // 8}" for row in range(40)]
    assert [r["style_id"] for r in records] == [str(1 + row // 8) for row in range(40)]
    for row, record in enumerate(records):
        assert ("style_pattern" in record) == (row // 8 % 2 == 0)
        assert "style_accents" not in record and "style_brushwork" not in record
        assert record["style_edges"] == "sharp"
    assert [r["style_identity"] for r in read_records([str(tmp_path / "r")], limit=9)][-1:] == [  # type: ignore[index]
        "style 1"
    ]


@pytest.mark.parametrize("styles", [0, 3, 41])
def test_a_table_of_another_length_is_refused(tmp_path: Path, styles: int) -> None:
    folder = release(tmp_path / "r", (40,), styles)

    with pytest.raises(MegastyleError, match=f"describes {styles} styles.* 40 pictures"):
        whole(folder)
    assert "style_identity" not in whole(folder / "train-00000.parquet")[0]


def test_a_table_of_something_else_beside_parquet_is_refused(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", (8,), 1)
    (folder / "metadata.csv").write_text("a,b\n1,2\n")

    with pytest.raises(MegastyleError, match="none of its columns is a style attribute: a, b"):
        whole(folder)


def test_a_damaged_page_moves_no_attribute(tmp_path: Path) -> None:
    folder = release(tmp_path / "r", (16, 16), styles=4)
    path = folder / "train-00000.parquet"
    content = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 30] = b"\xff" * 30
    path.write_bytes(content)

    found = list(read_records([str(folder)]))

    assert isinstance(found[0], Failure) and len(found) == 17
    assert [r["style_identity"] for r in found[1:]] == ["style 2"] * 8 + ["style 3"] * 8  # type: ignore[index]


@pytest.mark.parametrize("name", ["style_indices.pkl", "x.pt", "x.ckpt"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    with pytest.raises(MegastyleError, match="is a pickle.* never opened"):
        read_records([str(tmp_path / name)])


def test_a_pickle_beside_shards_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = release(tmp_path / "r", (8,), 1)
    (folder / "style_indices.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")

    assert len(whole(folder)) == 8 and "style_indices.pkl is a pickle" in caplog.text


def test_a_listing_that_leads_out_of_its_folder_opens_pictures_and_nothing_else(
    megastyle: Runner, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret words")
    (tmp_path / "a").mkdir()
    names = ["../imgs/0.png", "../secret.txt", "/etc/passwd", "../none.png"]
    (tmp_path / "a" / "t.csv").write_text("path\n" + "\n".join(names) + "\n")

    out = tmp_path / "o.jsonl"
    ended = megastyle("caption", "--kind", "style", tmp_path / "a" / "t.csv", "-o", out)

    assert ended.returncode == 3 and len(lines(out)) == 1
    failed = lines(tmp_path / "o.errors.jsonl")
    assert [one["_error"]["kind"] for one in failed] == ["bad_image"] * 3
    assert b"secret words" not in (tmp_path / "o.errors.jsonl").read_bytes()
