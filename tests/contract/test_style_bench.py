"""The StyleBench recipe, from the folder as its authors lay it out to the measures."""

import json
import runpy
import subprocess
import sys

import pytest

from tests.conftest import draw, lines
from tests.contract.tree import ROOT
from tests.models.encoders.test_dinov2 import dinov2_folder

FOLDER = ROOT / "examples" / "style_bench"
STYLES = {"3D model": 3, "Ink Wash": 4, "line art": 2}


@pytest.fixture(scope="module")
def plan():
    return runpy.run_path(str(FOLDER / "plan.py"))


def make_bench(folder, styles="style", contents="content"):
    """A small folder in the layout of StyleBench; without content pictures if `contents` is ""."""
    for number, (style, count) in enumerate(STYLES.items()):
        (folder / styles / style).mkdir(parents=True)
        for each in range(count):
            draw(10 * number + each).save(folder / styles / style / f"{each}.png")
    (folder / contents).mkdir(exist_ok=True)
    for number in range(2 if contents else 0):
        draw(90 + number, 80, 60).save(folder / contents / f"c{number}.jpg")
    (folder / styles / "3D model" / "._0.png").write_bytes(b"of macOS")
    return folder


@pytest.mark.parametrize("names", [("style", "content"), ("StyleBench/styles", "content_images")])
def test_references_lie_by_style_and_contents_apart(plan, tmp_path, names):
    styles, contents = plan["read_layout"](make_bench(tmp_path / "bench", *names))

    assert {style: len(paths) for style, paths in styles.items()} == STYLES
    assert [path.name for path in contents] == ["c0.jpg", "c1.jpg"]


def test_the_first_release_has_no_contents(plan, tmp_path):
    styles, contents = plan["read_layout"](make_bench(tmp_path / "bench", ".", ""))

    assert styles.keys() == STYLES.keys() and contents == []


def test_references_in_one_folder_are_told_apart_by_their_names(plan, tmp_path):
    for name in ("ink_1.png", "ink_2.png", "line art (3).png"):
        draw(1).save(tmp_path / name)

    styles, _ = plan["read_layout"](tmp_path)

    assert {style: len(paths) for style, paths in styles.items()} == {"ink": 2, "line art": 1}
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="holds no references"):
        plan["read_layout"](tmp_path / "empty")


def test_each_reference_meets_each_content_and_prompt_once(plan, tmp_path):
    styles, contents = plan["read_layout"](make_bench(tmp_path / "bench"))

    references, image, text = plan["plan"](styles, contents, ["A cat", "A dog"], 2, 3)

    assert len(references) == 9
    assert len(image) == len(text) == 3 * 2 * 3 * 2  # styles, references, seeds, contents
    ids = [record["id"] for record in (*references, *image, *text)]
    assert len(set(ids)) == len(ids)
    again = plan["plan"](dict(reversed(styles.items())), contents, ["A cat", "A dog"], 2, 3)
    assert {r["id"]: r["style_file_name"] for r in again[1]} == {
        r["id"]: r["style_file_name"] for r in image
    }


def test_the_folder_is_painted_and_measured(megastyle, tmp_path):
    bench = make_bench(tmp_path / "bench")
    command = [sys.executable, str(FOLDER / "plan.py"), str(bench), "-o", str(tmp_path / "plan")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    dinov2 = dinov2_folder(tmp_path / "dinov2")

    painted = megastyle("transfer", tmp_path / "plan/image.jsonl", "-o", tmp_path / "image")
    measured = megastyle(
        "eval",
        tmp_path / "image",
        *("--reference", tmp_path / "plan/references.jsonl", "--pair-by", "style_id"),
        *("--protocol", f"leakage={dinov2}", "--protocol", f"content-distance={dinov2}"),
    )

    assert said.splitlines() == [
        "3 styles, 9 references, 2 contents; 6 pictures to restyle, 60 to paint from prompts",
        "Published: 73 styles, 490 references, 40 contents",
    ]
    assert painted.returncode == 0, painted.stderr.decode()
    assert measured.returncode == 0, measured.stderr.decode()
    (summary,) = lines(measured.stdout)
    leakage, distance = summary["protocols"]
    assert summary["n"] == leakage["images"] == distance["images"] == 6
    assert 0 < distance["value"] < 4 and -2 < leakage["value"] < 2
    prompts = (FOLDER / "prompts.txt").read_text().split("\n")
    assert len(set(filter(None, prompts))) == 20
    assert json.loads((tmp_path / "plan/text.jsonl").read_text().split("\n")[0])["content"]
