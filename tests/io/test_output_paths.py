"""The files of an output follow from its name and shard."""

from pathlib import Path

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import OutputPaths, check_folder_name, output_paths

HALF = Shard(index=1, count=2, is_part=True)
OTHERS = (".csv", ".tsv", ".parquet", ".tar", ".txt", ".jpg", ".json", ".gz", ".v2")


def test_a_file_has_its_errors_and_run_beside_it() -> None:
    for name in ("out/a.jsonl", "out/a.jsonl.gz", "out/a.json", "out/a"):
        assert output_paths(name, Shard(), folder=False, is_summary=True) == OutputPaths(
            final=Path(name),
            errors=Path("out/a.errors.jsonl"),
            run=Path("out/a.run.json"),
            base=Path("out"),
        )


def test_a_folder_holds_its_listing_errors_and_run() -> None:
    assert output_paths("out", Shard(), folder=True, errors="e.jsonl") == OutputPaths(
        final=Path("out/metadata.jsonl"),
        errors=Path("e.jsonl"),
        run=Path("out/run.json"),
        base=Path("out"),
    )


def test_a_shard_is_a_part_of_a_directory() -> None:
    file = output_paths("out", HALF, folder=False)
    folder = output_paths("out", HALF, folder=True)

    assert file.final == Path("out/part-00001-of-00002.jsonl") and file.base == Path("out")
    assert folder.final == Path("out/part-00001-of-00002/metadata.jsonl")
    assert len({file.errors, file.run, folder.errors, folder.run}) == 4


def test_standard_output_has_no_files_but_named_errors() -> None:
    paths = output_paths("-", Shard(), folder=False, errors="e.jsonl")

    assert paths == OutputPaths(final=None, errors=Path("e.jsonl"), run=None, base=Path())


@pytest.mark.parametrize(
    ("output", "shard", "errors", "why"),
    [
        ("-", HALF, None, "cannot write to a stream"),
        *((f"a{suffix}", Shard(), None, "ends in .* written as JSON lines") for suffix in OTHERS),
        *(
            (f"a{suffix}", HALF, None, "ends in .* not written here")
            for suffix in (".csv", ".jsonl")
        ),
        ("a.jsonl", Shard(), "e.csv", "ends in .csv"),
        ("a.jsonl", Shard(), "a.jsonl", "is both the output and the errors file"),
        ("out", HALF, "e.jsonl", "shards cannot share --errors"),
        ("new/", Shard(), None, "new/ is a folder, but records are written to one file"),
    ],
)
def test_names_that_do_not_fit_are_errors(
    output: str, shard: Shard, errors: str | None, why: str
) -> None:
    with pytest.raises(MegastyleError, match=why):
        output_paths(output, shard, folder=False, errors=errors)


def test_a_directory_is_no_file_and_holds_parts_of_one_count(tmp_path: Path) -> None:
    with pytest.raises(MegastyleError, match="is a folder"):
        output_paths(str(tmp_path), Shard(), folder=False)
    (tmp_path / "part-00000-of-00003.jsonl").touch()
    with pytest.raises(MegastyleError, match="holds parts of 3 shards, not of 2"):
        output_paths(str(tmp_path), HALF, folder=False)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".png", ".parquet", ".tar", ".pth", ".JPG"])
def test_no_folder_gets_the_name_of_a_file(tmp_path: Path, suffix: str) -> None:
    name = str(tmp_path / f"a{suffix}")
    with pytest.raises(MegastyleError, match="not written here"):
        output_paths(name, Shard(), folder=True)

    check_folder_name(name + "/")
    Path(name).mkdir()
    check_folder_name(name)


def test_a_folder_may_have_dots_unless_they_could_mean_a_file() -> None:
    check_folder_name("run.v2")
    with pytest.raises(MegastyleError, match=r"ends in \.xyz") as refused:
        check_folder_name("a.xyz", or_image=True)
    assert refused.value.hint == "give a folder, such as a/, or an image, such as a.png"


def test_pictures_are_named_from_the_folder_of_the_output_but_not_in_a_stream() -> None:
    named = output_paths("out/a.jsonl", Shard(), folder=False)
    assert named.rename is not None and named.rename("imgs/a.png") == "../imgs/a.png"
    assert output_paths("-", Shard(), folder=False).rename is None
