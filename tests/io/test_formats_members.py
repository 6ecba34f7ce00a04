"""Pictures inside containers are found by name."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.io.formats import picture_exists
from megastyle_cli.io.images import open_picture
from megastyle_cli.io.record_names import picture_id, to_folder
from tests.conftest import draw
from tests.io.readers.samples import (
    as_parquet,
    as_tar,
    png,
    whole,
)


def test_a_written_name_opens_from_the_folder_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    names = [whole(as_tar(Path("in/x.tar")))[1]["file_name"]]
    names.append(whole(as_parquet(Path("in/x.parquet")))[1]["file_name"])

    renamed = [to_folder(Path("out"))(name) for name in names]
    assert all(map(picture_exists, [*names, "https://x.org/a.png"]))
    monkeypatch.chdir(tmp_path / "out")

    assert renamed == ["../in/x.tar#0001.png", "../in/x.parquet#1"]
    for name in renamed:
        assert open_picture(name).tobytes() == draw(1).tobytes()
        assert [record["file_name"] for record in whole(name)] == [name]


def test_a_file_that_is_named_like_a_member_is_that_file(tmp_path: Path) -> None:
    as_tar(tmp_path / "x.tar")
    (tmp_path / "x.tar#0001.png").write_bytes(png(40))

    assert open_picture(str(tmp_path / "x.tar#0001.png")).tobytes() == draw(40).tobytes()
    assert picture_id(str(tmp_path / "x.tar#0002.png")) == picture_id(tmp_path_png(tmp_path, 2))


def tmp_path_png(folder: Path, seed: int) -> str:
    (folder / "plain.png").write_bytes(png(seed))
    return str(folder / "plain.png")


@pytest.mark.parametrize(
    "name",
    ["x.tar#none.png", "x.tar#", "x.parquet#7", "x.parquet#-1", "x.parquet#a", "y.tar#a.png"],
)
def test_a_member_or_row_that_is_not_there_is_a_bad_image(tmp_path: Path, name: str) -> None:
    as_tar(tmp_path / "x.tar")
    as_parquet(tmp_path / "x.parquet")

    with pytest.raises(BadRecord, match=name.partition("#")[0]) as caught:
        open_picture(str(tmp_path / name))
    assert not picture_exists(str(tmp_path / name))
    assert caught.value.kind == "bad_image"
