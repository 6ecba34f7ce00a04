"""The functions for Python do what the commands do, on files, pictures in memory and records."""

import io
import re
import signal
import threading
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import megastyle_cli as ms
from megastyle_cli import api
from tests.conftest import Runner, draw, jsonl, lines

ROOT = Path(__file__).parents[1]


def without_run(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records without the keys of their runs, and without names, which depend on the folder."""
    return [
        {
            **{key: value for key, value in record.items() if not key.endswith("file_name")},
            "_megastyle": {
                step: {key: value for key, value in facts.items() if key != "run"}
                for step, facts in record["_megastyle"].items()
            },
        }
        for record in records
    ]


def test_every_public_function_is_described_and_typed() -> None:
    assert ms.__all__ == api.__all__ and {*ms.__all__} <= {*dir(ms)}
    for name in ms.__all__:
        assert getattr(ms, name) is getattr(api, name)
        assert getattr(ms, name).__doc__, name
        if name.islower():
            assert "return" in getattr(ms, name).__annotations__, name
            assert f"ms.{name}(" in getattr(ms, name).__doc__, name


def test_captions_are_those_of_the_command(megastyle: Runner, pictures: Path) -> None:
    ended = megastyle("caption", pictures)

    assert without_run(list(ms.caption(pictures))) == without_run(lines(ended.stdout))
    in_memory = list(ms.caption([draw(0), Image.open(pictures / "1.png")]))
    from_files = list(ms.caption([pictures / "0.png", str(pictures / "1.png")]))
    assert [one["style"] for one in in_memory] == [one["style"] for one in from_files]
    assert not any("file_name" in one for one in in_memory)


def test_a_bad_picture_keeps_its_place_with_the_reason(pictures: Path) -> None:
    (pictures / "1.png").write_bytes(b"no picture")
    asked = [pictures / "0.png", {"id": "bad", "file_name": str(pictures / "1.png")}, draw(2)]

    first, bad, last = ms.caption(asked)

    assert first["style"] and last["style"] and "style" not in bad
    assert bad["id"] == "bad" and bad["_error"]["kind"] == "bad_image"
    bad["file_name"] = str(pictures / "0.png")
    (again,) = ms.caption(bad)
    assert again["style"] and "_error" not in again


def test_duplicates_are_those_of_the_command(megastyle: Runner, tmp_path: Path) -> None:
    texts = [
        "a red fox in ink",
        "A  red fox in ink",
        "blue whales, soft light, in oil",
        "a red fox",
    ]
    source = jsonl(tmp_path / "in.jsonl", [{"id": str(n), "style": t} for n, t in enumerate(texts)])
    ended = megastyle("dedup", source, "--rejected", tmp_path / "rejected.jsonl")

    kept, dropped = ms.deduplicate(source)

    assert without_run(kept) == without_run(lines(ended.stdout))
    assert without_run(dropped) == without_run(lines(tmp_path / "rejected.jsonl"))
    with pytest.raises(ms.MegastyleError, match="record a has no text under 'content'"):
        ms.deduplicate([{"id": "a", "style": "ink"}], on="content")


def test_vectors_are_unit_rows_in_order(pictures: Path) -> None:
    rows = ms.embed([draw(3), pictures / "0.png", {"file_name": str(pictures / "3.png")}])

    assert rows.dtype == np.float32 and rows.ndim == 2
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-5)
    assert len(ms.embed(pictures)) == 6
    with pytest.raises(ms.MegastyleError, match="no image to embed"):
        ms.embed([])
    with pytest.raises(ms.MegastyleError, match="an input is of type int"):
        ms.embed([5])  # type: ignore[list-item]


def test_neighbors_are_those_of_the_command(megastyle: Runner, pictures: Path) -> None:
    ended = megastyle("retrieve", "0.png", "--index", ".", "--top", 3, cwd=pictures)
    (expected,) = lines(ended.stdout)

    (found,) = ms.retrieve(pictures / "0.png", pictures, k=3)
    (in_memory,) = ms.retrieve(draw(0), [draw(n) for n in range(1, 6)], k=3, keep_self=True)

    near = [(one["id"], one["score"]) for one in found["neighbors"]]
    assert near == [(one["id"], one["score"]) for one in expected["neighbors"]]
    assert [one["score"] for one in in_memory["neighbors"]] == [score for _, score in near]
    assert not any("file_name" in one for one in in_memory["neighbors"])


def test_a_saved_index_is_searched(megastyle: Runner, pictures: Path) -> None:
    megastyle("retrieve", "--index", pictures.parent / "index", "--add", pictures)

    saved = list(ms.retrieve(pictures / "0.png", pictures.parent / "index", k=2))

    (found,) = ms.retrieve(pictures / "0.png", pictures, k=2)
    assert saved[0]["neighbors"] == found["neighbors"]


def test_a_transfer_is_the_picture_of_the_command(megastyle: Runner, pictures: Path) -> None:
    out = pictures.parent / "out.png"
    styles = ("--style", pictures / "1.png", "--style", pictures / "2.png")
    megastyle("transfer", *styles, "--weight", 1, "--weight", 3, pictures / "0.png", "-o", out)

    made = ms.transfer(pictures / "0.png", [pictures / "1.png", pictures / "2.png"], weights=(1, 3))
    in_memory = ms.transfer(draw(0), [draw(1), draw(2)], weights=(1, 3))

    with Image.open(out) as expected:
        np.testing.assert_array_equal(np.asarray(made), np.asarray(expected))
    np.testing.assert_array_equal(np.asarray(made), np.asarray(in_memory))
    with pytest.raises(ms.MegastyleError, match=r"gone\.png does not exist"):
        ms.transfer("gone.png", pictures / "1.png")
    with pytest.raises(ms.MegastyleError, match="nothing to restyle"):
        ms.transfer(None, pictures / "1.png")


def test_values_that_a_command_refuses_are_refused() -> None:
    with pytest.raises(ms.MegastyleError, match=r"^strength must be a number from 0 to 1, not '5'"):
        ms.transfer(draw(0), draw(1), strength=5)
    with pytest.raises(ms.MegastyleError, match="^keep must be first, longest, .* not 'shortest'"):
        ms.deduplicate([{"style": "ink"}], keep="shortest")  # type: ignore[arg-type]
    with pytest.raises(ms.MegastyleError, match="^kind must be "):
        ms.caption(draw(0), kind="any")  # type: ignore[arg-type]
    with pytest.raises(ms.MegastyleError, match="^k must be a whole number of at least 1"):
        ms.retrieve(draw(0), [draw(1)], k=0)


def test_scores_are_those_of_the_command(megastyle: Runner, pictures: Path) -> None:
    args = ("--reference", pictures / "0.png", "--errors", pictures.parent / "errors.jsonl")
    ended = megastyle("eval", pictures, *args, "--each")

    scored = list(ms.score(pictures, pictures / "0.png"))

    assert without_run([one for one in scored if "_error" not in one]) == without_run(
        lines(ended.stdout)
    )
    (expected,) = lines(pictures.parent / "errors.jsonl")  # compared with nothing but itself
    assert scored[0]["_error"] == expected["_error"] and len(scored) == 6
    (own,) = ms.score({"file_name": str(pictures / "1.png")})
    assert own["_error"]["kind"] == "missing_key"


def test_written_records_are_read_again_from_any_folder(pictures: Path) -> None:
    path = pictures.parent / "sub" / "out.jsonl.gz"
    path.parent.mkdir()

    assert ms.write_records(ms.read_records(pictures, limit=4), path) == 4
    records = list(ms.read_records(path))

    assert [Path(one["file_name"]).resolve() for one in records] == [
        (pictures / f"{n}.png").resolve() for n in range(4)
    ]
    with pytest.raises(ms.MegastyleError, match="exists"):
        ms.write_records(records, path)
    assert ms.write_records(records[:1], path, overwrite=True) == 1
    with pytest.raises(ms.MegastyleError, match=r"\.csv"):
        ms.write_records(records, path.with_name("out.csv"))


def test_mistakes_raise_before_the_first_record() -> None:
    with pytest.raises(ms.MegastyleError, match="there is no style encoder backend 'none'"):
        ms.retrieve(draw(1), draw(2), backend="none")
    for name in ("gone.png", "-"):
        with pytest.raises(ms.MegastyleError):
            next(ms.read_records(name))


def test_threads_work_nothing_is_printed_and_signals_stay(pictures: Path) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    (pictures / "broken.png").write_bytes(b"")
    found: list[list[dict[str, Any]]] = []
    shown = io.StringIO()

    with redirect_stdout(shown), redirect_stderr(shown):
        threads = [
            threading.Thread(target=lambda: found.append(list(ms.caption(pictures))))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ms.transfer(draw(1), draw(2), size=32)

    assert len(found) == 2 and found[0] == found[1] and len(found[0]) == 7
    assert shown.getvalue() == ""
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_the_examples_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {}

    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for block in blocks:
        exec(block, known)

    assert len(blocks) > 4
    assert all(
        f"ms.{name}" in text for name in ms.__all__ if name not in ("Deduplicated", "Record")
    )
