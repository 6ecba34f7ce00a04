"""A folder's files by what they are: each is read once, or counted."""

from pathlib import Path

import pytest

from megastyle_cli.io.readers.folder_files import count_pictures, scan


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def below(folder: Path, names: list[str]) -> list[str]:
    return [str(Path(name).relative_to(folder)) for name in names]


def test_a_linked_folder_is_read_once_and_a_cycle_ends(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "real/1.jpg")
    made(tmp_path / "out", "a/2.jpg")
    (folder / "linked").symlink_to(tmp_path / "out")
    (folder / "again").symlink_to(folder / "real")
    (tmp_path / "out" / "cycle").symlink_to(folder)

    assert below(folder, scan(folder).pictures) == ["linked/a/2.jpg", "real/1.jpg"]


def test_a_listing_covers_what_is_below_its_folder(tmp_path: Path) -> None:
    names = ("train/metadata.jsonl", "train/a/1.jpg", "test/metadata.csv", "test/2.jpg", "3.jpg")
    folder = made(tmp_path, *names, "rows/metadata.csv", "rows/x.parquet")

    found = scan(folder)

    assert below(folder, found.pictures) == ["3.jpg"]
    assert {k.removeprefix(f"{folder}/"): below(folder, v) for k, v in found.listings.items()} == {
        "train/metadata.jsonl": ["train/a/1.jpg"],
        "test/metadata.csv": ["test/2.jpg"],
    }
    assert found.containers == [folder / "rows/x.parquet"]  # a table covers pictures only


@pytest.mark.parametrize("data", ["00000/000000.jpg", "00000.tar"])
def test_the_statistics_of_img2dataset_are_no_records(tmp_path: Path, data: str) -> None:
    statistics = [f"0000{n}{end}" for n in (0, 1) for end in (".parquet", "_stats.json")]
    found = scan(made(tmp_path, data, *statistics))

    assert [*found.pictures, *map(str, found.containers)] == [str(tmp_path / data)]
    assert not found.others
    alone = scan(made(tmp_path / "rows", *statistics))
    assert [path.name for path in alone.containers] == ["00000.parquet", "00001.parquet"]


def test_what_is_skipped_is_counted_by_kind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("1.jpg", "1.txt", "2.jpg", "2.json", "a.psd", "b.PSD", "c.svg", "README", ".hidden")
    ours = ("run.json", "x.run.json", "errors.jsonl", "x.errors.jsonl", "x.jsonl.partial")

    scan(made(tmp_path, *names, *ours, "meta_cap.json")).warn_skipped(tmp_path)

    skipped, captions = (record.getMessage() for record in caplog.records)
    assert skipped == (
        f"{tmp_path}: skipped 2 .psd, 1 .svg,"
        " 1 meta_cap.json (write its captions to metadata.jsonl), 1 without a suffix"
    )
    assert captions == f"{tmp_path}: only the captions of 1 .json files are read"


def test_pictures_are_counted_as_they_are_read(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "a/1.jpg", "2.PNG", ".3.jpg", ".b/4.jpg", "5.txt", "6.npy", "x")
    (folder / "again").symlink_to(folder / "a")

    assert count_pictures(folder) == len(scan(folder).pictures) == 2


@pytest.mark.parametrize("name", ["a/metadata.jsonl", "metadata.csv", "a/x.tar", "y.parquet"])
def test_listings_and_containers_are_not_counted(tmp_path: Path, name: str) -> None:
    assert count_pictures(made(tmp_path, "a/1.jpg", name)) is None
