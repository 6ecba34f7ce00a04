"""Outputs overwrite nothing unasked, go on only with lines of their own, and name what opens."""

from pathlib import Path

import pytest

from megastyle_cli.core.atomic_file import count_ids
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Failure, Run
from megastyle_cli.core.shard import Shard
from megastyle_cli.io.output_paths import OutputPaths, output_paths
from megastyle_cli.io.record_names import to_folder
from megastyle_cli.io.writers.image_dataset import ImageFormat
from megastyle_cli.io.writers.sink import Sink, atomic_sink, resumable_sink
from tests.conftest import draw, jsonl, lines

RUN = Run("caption", {"a": 1})


def sink(output: object, *, folder: bool = False, resume: bool = False) -> Sink:
    layout = ImageFormat() if folder else None
    return open_sink(output_paths(str(output), Shard(), folder=folder), resume, layout)


def open_sink(where: OutputPaths, resume: bool = False, layout: ImageFormat | None = None) -> Sink:
    return resumable_sink(where, RUN, resume=resume, overwrite=False, force=False, layout=layout)


def test_an_errors_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    precious = tmp_path / "notes.jsonl"
    precious.write_text("precious")
    for output in ("-", str(tmp_path / "out.jsonl")):
        where = output_paths(output, Shard(), folder=False, errors=str(precious))
        with pytest.raises(MegastyleError, match="notes.jsonl exists"), open_sink(where):
            pass

    assert precious.read_text() == "precious"


def test_output_and_errors_must_differ(tmp_path: Path) -> None:
    out = str(tmp_path / "out.jsonl")

    with pytest.raises(MegastyleError, match="the output and the errors file"):
        output_paths(out, Shard(), folder=False, errors=out)
    with pytest.raises(MegastyleError, match="share"):
        output_paths(str(tmp_path), Shard(index=0, count=2, is_part=True), folder=False, errors=out)


def test_failures_of_a_pipe_name_pictures_from_their_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = output_paths("-", Shard(), folder=False, errors="sub/errors.jsonl")

    with open_sink(where) as out:
        out.write(Failure({"id": "a", "file_name": "imgs/a.png"}, "bad_image", "a is bad"))
        out.commit()

    assert lines(tmp_path / "sub" / "errors.jsonl")[0]["file_name"] == "../imgs/a.png"


def test_records_of_equal_ids_get_pictures_of_their_own(tmp_path: Path) -> None:
    with sink(tmp_path, folder=True) as out:
        paths = [Path(out.save_image(name, draw(1))) for name in ("a", "b", "a", "a")]
        out.write({"id": "a", "file_name": str(paths[0])})
        out.flush()
    assert [path.name for path in paths] == ["a.png", "b.png", "a~1.png", "a~2.png"]

    with sink(tmp_path, folder=True, resume=True) as out:
        assert Path(out.save_image("a", draw(1))).name == "a~1.png"


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]"])
def test_a_damaged_run_file_is_said(tmp_path: Path, damage: bytes) -> None:
    with sink(tmp_path, folder=True) as out:
        out.commit()
    (tmp_path / "run.json").write_bytes(damage)

    with pytest.raises(MegastyleError, match=r"run\.json is damaged"):
        sink(tmp_path, folder=True, resume=True)


@pytest.mark.parametrize("line", ["not json", "[1]", "{}", "null"])
def test_a_foreign_line_in_an_output_is_said_and_left_alone(tmp_path: Path, line: str) -> None:
    partial = tmp_path / "out.jsonl.partial"
    partial.write_text(f'{{"id":"a"}}\n{line}\n')

    message = "line 2 is not a record"
    with pytest.raises(MegastyleError, match=message), sink(tmp_path / "out.jsonl", resume=True):
        pass

    assert partial.read_text() == f'{{"id":"a"}}\n{line}\n'


def test_blank_and_torn_lines_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"id":"a"}\n\n{"id":"a"}\n{"id":"b')

    assert count_ids(path) == {"a": 2}


def test_names_climb_out_of_the_folder_a_link_points_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    (tmp_path / "imgs").mkdir()
    jsonl(tmp_path / "imgs" / "a.png", [])
    monkeypatch.chdir(tmp_path)

    name = to_folder(Path("link"))("imgs/a.png")

    assert (tmp_path / "link" / name).samefile("imgs/a.png")
    assert to_folder(Path("link"))("link/b.png") == "b.png"
    assert to_folder(Path("link"))("https://example.org//a.png") == "https://example.org//a.png"


def test_absolute_names_become_relative_to_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with sink("out.jsonl") as out:
        out.write({"id": "a", "file_name": str(tmp_path / "imgs" / "a.png")})
        out.commit()

    assert lines(tmp_path / "out.jsonl")[0]["file_name"] == "imgs/a.png"


@pytest.mark.parametrize("name", ["e.jsonl", None])
def test_the_first_failures_of_a_kind_are_told_and_the_others_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str | None
) -> None:
    errors = str(tmp_path / name) if name else None
    where = output_paths("-", Shard(), folder=False, errors=errors)
    with atomic_sink(where, RUN, overwrite=True) as out:
        for n in range(9):
            out.write(Failure({"id": str(n), "file_name": f"{n}.png"}, "bad_image", "is empty"))
            out.write(Failure({}, "bad_json", f"a.jsonl line {n} is not valid JSON"))

    printed = caplog.messages
    assert printed[:3] == ["0.png: is empty", "a.jsonl line 0 is not valid JSON", "1.png: is empty"]
    assert len(printed) == 11
    kept = f"all are in {errors}" if errors else "--errors FILE keeps them"
    assert printed[-1] == f"{RUN.command}: 8 more failed (4 bad_image, 4 bad_json): {kept}"
