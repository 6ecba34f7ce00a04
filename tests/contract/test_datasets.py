"""What image makers write is opened by the packages that others open data sets with."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Runner, jsonl, lines

datasets = pytest.importorskip("datasets")
COUNT = 5

# the packages' own, on the Python and the numpy of today
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def made(megastyle: Runner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures as a folder, as tars and as parquet files, by the real command."""
    base = tmp_path_factory.mktemp("made")
    for seed in range(COUNT):
        Image.effect_noise((64, 48), 20 + 30 * seed).convert("RGB").save(base / f"{seed}.png")
    asked = [
        {
            "id": f"s{n // 2}_c{n}",
            "content": f"Frog {n}",
            "style": f"In ink {n // 2}.",
            "style_file_name": f"{n}.png",
            "content_file_name": f"{(n + 1) % COUNT}.png",
        }
        for n in range(COUNT)
    ]
    records = jsonl(base / "pairs.jsonl", asked)
    for container in ("folder", "webdataset", "parquet"):
        flags = ("--size", 32, "--format", container, "--shard-size", 3)
        ended = megastyle("synth", records, *flags, "-o", base / container)
        assert ended.returncode == 0, ended.stderr.decode()
    return base


def loaded(made: Path, *what: str, **how: Any) -> Any:
    """The training split, without a network and without a cache elsewhere."""
    return datasets.load_dataset(*what, **how, split="train", cache_dir=str(made / "cache"))


def pixels(path: Path) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGB").tobytes()


def expected(made: Path) -> dict[str, bytes]:
    """The pixels of each record's picture, as they lie in the folder."""
    listed = lines(made / "folder" / "metadata.jsonl")
    return {one["id"]: pixels(made / "folder" / one["file_name"]) for one in listed}


def test_datasets_opens_the_folder_as_an_imagefolder(made: Path) -> None:
    rows = loaded(made, "imagefolder", data_dir=str(made / "folder"))

    found = {row["id"]: row["image"].convert("RGB").tobytes() for row in rows}
    assert found == expected(made)
    assert {row["style"] for row in rows} == {"In ink 0.", "In ink 1.", "In ink 2."}


@pytest.mark.parametrize("how", ["webdataset", "by looking"])
def test_datasets_opens_the_tars(made: Path, how: str) -> None:
    if how == "webdataset":
        tars = sorted(map(str, (made / "webdataset").glob("*.tar")))
        rows = loaded(made, "webdataset", data_files={"train": tars})
    else:
        rows = loaded(made, str(made / "webdataset"), data_files="*.tar")

    found = {row["json"]["id"]: row["png"].convert("RGB").tobytes() for row in rows}
    assert found == expected(made)
    assert {row["txt"] for row in rows} == {f"Frog {n}. In ink {n // 2}." for n in range(COUNT)}


@pytest.mark.parametrize("how", ["parquet", "by looking"])
def test_datasets_opens_the_parquet_files(made: Path, how: str) -> None:
    if how == "parquet":
        tables = sorted(map(str, (made / "parquet").glob("*.parquet")))
        rows = loaded(made, "parquet", data_files={"train": tables})
    else:
        rows = loaded(made, str(made / "parquet"), data_files="*.parquet")

    assert rows.column_names == ["id", "image", "content", "style"]
    found = {row["id"]: row["image"].convert("RGB").tobytes() for row in rows}
    assert found == expected(made)


def test_the_folders_open_as_the_readme_says(made: Path) -> None:
    for container in ("webdataset", "parquet"):
        assert len(loaded(made, str(made / container))) == COUNT


def test_webdataset_reads_the_tars(made: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, (made / "webdataset").glob("*.tar")))

    rows = webdataset.WebDataset(tars, shardshuffle=False).decode("pil").to_tuple("json", "png")
    found = {record["id"]: picture.convert("RGB").tobytes() for record, picture in rows}

    assert found == expected(made)
