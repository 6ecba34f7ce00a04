"""`eval --bias` and `eval --originals` as people call them, with real encoders."""

import json

import pytest

from megastyle_cli.bias.style_measures import rounded_values
from tests.conftest import draw, jsonl, lines
from tests.models.encoders.test_dual_encoder import clip_folder

ORIGINALS = ("--backend", "whitened", "--originals")


@pytest.fixture
def rendered(tmp_path):
    """Two tested styles and two controls of 6 contents, and the same once more as originals."""
    records = []
    for number, style in enumerate(("ink", "oil", "plain", "flat")):
        for content in range(6):
            name = f"{style}-{content}.png"
            draw(10 * number + content, 40 + 8 * number).save(tmp_path / name)
            facts = {"style_id": style, "content_id": f"c{content}", "count": 10**number}
            records.append({"id": name, "file_name": name, **facts})
    return jsonl(tmp_path / "set.jsonl", records)


def only_line(ended):
    assert ended.returncode == 0, ended.stderr.decode()
    (summary,) = lines(ended.stdout)
    return summary


def test_each_tested_style_has_its_objects(megastyle, rendered, tmp_path):
    clip = clip_folder(tmp_path / "clip")
    (tmp_path / "nouns.txt").write_text("\n".join(f"noun {word}" for word in "abcdefgh"))
    words = ["--bias", "--control", "plain", "--control", "flat", "--text-model", clip]

    ended = megastyle("eval", rendered, *words, "--nouns", tmp_path / "nouns.txt")
    floored = megastyle("eval", rendered, *words, "--floor", rendered)

    summary = only_line(ended)
    assert (summary["n"], summary["controls"], summary["nouns"]) == (24, 2, 8)
    assert {row["style"] for row in summary["bias"]} == {"ink", "oil"}
    for row in summary["bias"]:
        assert row["contents"] == 3 and len(row["nouns"]) == 5 and 0 < row["p"] <= 1
    assert b"too few contents for intervals" in ended.stderr
    assert all("above_floor" in row for row in only_line(floored)["bias"])
    assert only_line(floored)["nouns"] > 200


def test_pictures_that_are_their_own_originals_query_each_other(megastyle, rendered):
    summary = only_line(
        megastyle("eval", rendered, *ORIGINALS, rendered, "--frequency-key", "count")
    )

    # the drawn pictures of one style differ as strangers do, for this encoder
    assert summary["kept_by_style"].keys() == {"ink", "oil", "plain"}
    assert summary["styles"] == 3 and summary["left_out"] == 1
    assert summary["kept"] == pytest.approx(1, abs=1e-3)  # S and K are means over the same pairs
    assert 0 <= summary["map_1"] <= 1 and 0 < summary["random_map_1"] < 1
    assert summary["frequency_styles"] == 3 and "kept_low" not in summary


def test_the_summary_goes_to_a_file(megastyle, rendered, tmp_path):
    out = tmp_path / "kept.json"

    ended = megastyle("eval", rendered, *ORIGINALS, rendered, "-o", out)

    assert ended.returncode == 0
    assert json.loads(out.read_text())["styles"] == 3


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bias", "--control", "plain"], "--bias needs --text-model"),
        (["--bias", "--text-model", "CLIP"], "--bias needs --control"),
        (["--bias", "--text-model", "CLIP", "--control", "x"], "no image has the style 'x'"),
        (["--originals", "SET", "--label", "nothing"], "has no nothing"),
    ],
)
def test_what_cannot_be_measured_is_refused(megastyle, rendered, tmp_path, words, expected):
    names = {"CLIP": tmp_path / "clip", "SET": rendered}
    if "CLIP" in words:
        clip_folder(tmp_path / "clip")

    ended = megastyle("eval", rendered, *(names.get(word, word) for word in words))

    assert ended.returncode in (2, 3) and expected in ended.stderr.decode()


def test_a_small_p_is_not_0():
    row = {"p": 2**-31, "p_holm": 0.123456, "rise": 0.123456, "nouns": [{"share": -1e-9}]}

    rounded = rounded_values(row)

    assert rounded["p"] == pytest.approx(2**-31, rel=1e-3) and rounded["p_holm"] == 0.1235
    assert rounded["rise"] == 0.1235 and str(rounded["nouns"][0]["share"]) == "0.0"
