"""`eval --bias --base-url` as people call it: a model on a server lists and finds objects."""

import json

import pytest

from tests.bias.grid_of_images import CONTROLS, make_grid, see
from tests.chat_server import RawResponse, serving
from tests.conftest import lines

WORDS = ["--bias", *(word for name in CONTROLS for word in ("--control", name))]


def only_line(ended):
    assert ended.returncode == 0, ended.stderr.decode()
    (summary,) = lines(ended.stdout)
    return summary


def test_a_style_that_brings_an_object_is_told_from_one_that_does_not(megastyle, tmp_path):
    grid = make_grid(tmp_path, contents=12)
    with serving(see) as server:
        ended = megastyle("eval", grid, *WORDS, "--base-url", server.url)
        asked = len(server.requests)

    summary = only_line(ended)
    ukiyoe, etching = summary["bias"]
    assert (ukiyoe["style"], etching["style"]) == ("ukiyo-e", "etching")
    (kimono,) = ukiyoe["objects"]
    assert kimono["object"] == "kimono" and kimono["control_share"] == pytest.approx(
        ukiyoe["control_share"]
    )
    assert ukiyoe["contents"] == 6 and ukiyoe["share"] == 1
    assert ukiyoe["intrusion"] == 1 - ukiyoe["control_share"] > 0.8
    assert ukiyoe["p"] <= 2 / 2**5 and ukiyoe["p_holm"] == pytest.approx(2 * ukiyoe["p"], abs=1e-3)
    assert len(ukiyoe["examples"]) == 6
    assert (etching["intrusion"], etching["p"], etching["objects"]) == (0, 1, [])
    # 4 styles x 6 contents are listed; one candidate is asked for twice on 3 styles x 6 contents
    assert asked == summary["questions"]["asked"] == 4 * 6 + 2 * 3 * 6
    assert summary["_megastyle"]["eval"]["vlm"] == "tiny-vlm"
    assert b"too few contents for intervals" in ended.stderr


def test_both_orders_of_yes_and_no_are_asked_and_contradictions_counted(megastyle, tmp_path):
    grid = make_grid(tmp_path)

    def first_word(request):
        if "JSON object" in request.text:
            return see(request)
        return "yes" if "yes or no" in request.text else "no"

    with serving(first_word) as server:
        summary = only_line(megastyle("eval", grid, *WORDS, "--base-url", server.url))

    assert summary["questions"]["inconsistent"] == summary["questions"]["asked"] // 2 - 8
    assert summary["bias"][0]["intrusion"] == 0  # not both answers are yes


def test_answers_are_kept_and_only_the_missing_ones_are_asked_again(megastyle, tmp_path):
    grid = make_grid(tmp_path)
    words = ["eval", grid, *WORDS, "--cache", tmp_path / "cache"]
    failing = {"are_failing": True}

    def sometimes(request):
        if failing["are_failing"] and "Answer no or yes" in request.text:
            return RawResponse(status=401, body=b'{"error": {"message": "bad key"}}')
        return see(request)

    with serving(sometimes) as server:
        stopped = megastyle(*words, "--base-url", server.url)
        before = len((tmp_path / "cache/answers.jsonl").read_bytes().splitlines())
        failing["are_failing"] = False
        resumed = only_line(megastyle(*words, "--base-url", server.url))
        again = only_line(megastyle(*words, "--base-url", server.url))
        whole = only_line(megastyle("eval", grid, *WORDS, "--base-url", server.url))

    assert stopped.returncode == 2 and b"refuses the key" in stopped.stderr
    assert before >= 16  # the lists of objects
    assert resumed["questions"]["known"] >= before
    assert again["questions"]["asked"] == 0
    assert whole["bias"] == resumed["bias"] == again["bias"]


def test_refusals_are_counted_and_their_contents_left_out(megastyle, tmp_path):
    grid = make_grid(tmp_path, contents=12)

    def unwilling(request):
        red, _, blue = request.image.resize((1, 1)).getpixel((0, 0))
        is_refused = "Can this be seen" in request.text and blue < 20 and red > 20
        return "I'm sorry, I can't help with that" if is_refused else see(request)

    with serving(unwilling) as server:
        ended = megastyle("eval", grid, *WORDS, "--base-url", server.url)

    summary = only_line(ended)
    row = next(row for row in summary["bias"] if row["style"] == "ukiyo-e")
    assert row["unanswered"] > 0 and row["contents"] + row["unanswered"] == 6
    assert summary["questions"]["invalid"]["refusal"] == 3 * 2 * row["unanswered"]
    assert b"invalid answers" in ended.stderr


def test_what_cannot_show_the_objects_is_the_floor(megastyle, tmp_path):
    (tmp_path / "floor").mkdir()
    grid = make_grid(tmp_path)
    floor = make_grid(tmp_path / "floor", brings=())

    with serving(see) as server:
        words = [*WORDS, "--base-url", server.url]
        above = only_line(megastyle("eval", grid, *words, "--floor", floor))["bias"][0]
        equal = only_line(megastyle("eval", grid, *words, "--floor", grid))["bias"][0]

    assert above["floor"] == 0 and above["above_floor"] == above["intrusion"]
    assert equal["above_floor"] < above["above_floor"] and equal["floor"] > 0.5


def test_an_image_that_does_not_open_is_a_failure_of_its_record(megastyle, tmp_path):
    grid = make_grid(tmp_path)
    (tmp_path / "etching-3.png").write_bytes(b"no image")

    with serving(see) as server:
        ended = megastyle("eval", grid, *WORDS, "--base-url", server.url, "-o", tmp_path / "a.json")

    assert ended.returncode == 3
    (failed,) = lines(tmp_path / "a.errors.jsonl")
    assert failed["id"] == "etching-3" and failed["content_id"] == "c3"
    assert json.loads((tmp_path / "a.json").read_text())["failed"] == 1


def test_a_style_without_valid_answers_has_no_row(megastyle, tmp_path):
    grid = make_grid(tmp_path)

    def unwilling(request):
        _, _, blue = request.image.resize((1, 1)).getpixel((0, 0))
        return see(request) if blue > 20 else "I'm sorry, I can't help with that"

    with serving(unwilling) as server:
        ended = megastyle("eval", grid, *WORDS, "--base-url", server.url)

    assert [row["style"] for row in only_line(ended)["bias"]] == ["etching"]
    assert b"1 styles have no valid answers" in ended.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--bias"], "--bias needs --control"),
        (["--bias", "--control", "x"], "no image has the style 'x'"),
        (["--bias", "--control", "flat", "--nouns", "GRID"], "--nouns is for --text-model"),
        (
            ["--bias", "--control", "flat", "--text-model", "a"],
            "or one that compares images with texts",
        ),
        ([], "--base-url is for --bias"),
    ],
)
def test_what_cannot_be_asked_is_refused(megastyle, tmp_path, words, expected):
    grid = make_grid(tmp_path, contents=2)

    with serving(see) as server:
        given = [grid if word == "GRID" else word for word in words]
        ended = megastyle("eval", grid, *given, "--base-url", server.url)

    assert ended.returncode == 2 and expected in ended.stderr.decode()
