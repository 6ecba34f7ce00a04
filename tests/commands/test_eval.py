"""`megastyle eval` as people call it: references, text, diversity, benchmark, page, bad input."""

import json
import tempfile

import pytest

from tests.conftest import draw, jsonl, lines
from tests.models.encoders.hub_siglip import siglip_of_the_hub
from tests.models.encoders.test_dual_encoder import clip_folder


@pytest.fixture
def labelled(tmp_path):
    """Four styles of five contents; a style is a size of the drawn picture."""
    records = []
    for style in range(4):
        for content in range(5):
            name = f"{style}-{content}.png"
            draw(10 * style + content, 48 + 8 * style).save(tmp_path / name)
            records.append(
                {
                    "id": f"{style}-{content}",
                    "file_name": name,
                    "style_file_name": f"{style}-0.png",
                    "content_file_name": f"0-{content}.png",
                    "style_id": f"s{style}",
                    "content_id": f"c{content}",
                    "content": f"oil {content}",
                    "style": f"In the style of ink {style}",
                }
            )
    return jsonl(tmp_path / "set.jsonl", records)


def summary_of(ended):
    assert ended.returncode == 0, ended.stderr.decode()
    return lines(ended.stdout)[0]


def test_the_keys_of_a_summary_are_stable(megastyle, labelled):
    message = summary_of(megastyle("eval", labelled))

    means = ["style_score", "csls_score"]
    means += [f"{m}_{k}" for k in (1, 10) for m in ("recall", "map_csd", "map")]
    assert {f"{m}{end}" for m in means for end in ("", "_low", "_high")} <= message.keys()
    assert {f"random_{m}" for m in means} <= message.keys()
    rest = ["n", "failed", "styles", "references", "split", "other_contents_only", "queries"]
    rest += ["without_positive", "same_content_1", "spread_within", "spread_between"]
    assert set(rest) <= message.keys()
    assert message["_megastyle"]["eval"].keys() == {"model", "run"}
    assert message["map_1"] == message["recall_1"] == message["map_csd_1"]


def test_many_references_are_counted_and_named(megastyle, labelled):
    folder = labelled.parent
    strangers = [folder / f"3-{content}.png" for content in range(5)]
    given = [word for name in ("0-1.png", "0-2.png") for word in ("--reference", folder / name)]

    message = summary_of(
        megastyle("eval", labelled, *given, *(w for s in strangers for w in ("--others", s)))
    )

    assert message["references"] == 2
    assert {"prototype_score", "random_style_score", "csls_score"} <= message.keys()
    assert message["_megastyle"]["eval"]["reference_set"]


def test_scores_against_references_fold_from_shards(megastyle, labelled, tmp_path):
    given = ("--reference", labelled.parent / "1-1.png")
    for index in range(2):
        part = ("--each", "--shard", f"{index}/2", "-o", tmp_path / "scores")
        assert megastyle("eval", labelled, *given, *part, "--max-errors", 1).returncode == 0

    folded = summary_of(megastyle("eval", tmp_path / "scores"))
    at_once = lines(megastyle("eval", labelled, *given).stdout)[0]

    assert at_once["failed"] == 0 or folded["n"] == at_once["n"]
    assert folded["style_score"] == at_once["style_score"]
    assert folded["references"] == at_once["references"] == 1


def test_resuming_with_other_references_is_refused(megastyle, labelled, tmp_path):
    arguments = ("eval", labelled, "--each", "-o", tmp_path / "out.jsonl")
    megastyle(*arguments, "--reference", labelled.parent / "1-1.png", "--max-errors", 1)

    ended = megastyle(*arguments, "--reference", labelled.parent / "1-2.png", "--resume")

    assert ended.returncode == 2 and b"reference_set was" in ended.stderr


@pytest.mark.parametrize("make", [clip_folder, siglip_of_the_hub])
def test_text_leakage_and_diversity_come_on_request(megastyle, labelled, tmp_path, make):
    model = make(tmp_path / "model")

    message = summary_of(
        megastyle("eval", labelled, "--text-model", model, "--leakage", "--diversity")
    )

    assert {"text_score", "random_text_score", "prompt_loss", "content_leakage"} <= message.keys()
    assert {
        "mpd",
        "vendi",
        "mnnd",
        "mpd_prompts",
        "vendi_prompts",
        "mnnd_prompts",
    } <= message.keys()
    assert message["prompts"] == 4
    assert str(model) in message["_megastyle"]["eval"]["text_model"]


def test_leakage_without_a_text_model_is_the_builtin_network_s(megastyle, labelled):
    message = summary_of(megastyle("eval", labelled, "--leakage"))

    leaked = message["content_similarity"] - message["random_content_similarity"]
    assert message["content_leakage"] == pytest.approx(leaked, abs=2e-4)
    assert message["_megastyle"]["eval"]["content_model"] == "imagenet-classes"


def test_leakage_folds_with_its_model_and_without_it_says_what_lacks(megastyle, labelled, tmp_path):
    asked = ("--text-model", clip_folder(tmp_path / "clip"), "--leakage")
    at_once = summary_of(megastyle("eval", labelled, *asked))
    megastyle("eval", labelled, *asked, "--each", "-o", tmp_path / "each.jsonl")

    again = summary_of(megastyle("eval", tmp_path / "each.jsonl", *asked))
    ended = megastyle("eval", tmp_path / "each.jsonl")

    message = summary_of(ended)
    exact = ("content_similarity", "text_score", "prompt_loss")
    assert all(message[name] == at_once[name] for name in exact)
    assert again.keys() == at_once.keys()
    for name in ("content_leakage", "random_content_similarity", "random_text_score"):
        assert name not in message and again[name] == pytest.approx(at_once[name], abs=1e-4)
    assert b"no content leakage: give --leakage" in ended.stderr
    assert b"no random text score: give --text-model" in ended.stderr


def test_leakage_without_references_is_said_not_to_be_told(megastyle, labelled):
    pictures = [labelled.parent / f"1-{content}.png" for content in range(2)]

    ended = megastyle("eval", *pictures, "--leakage")

    assert ended.returncode == 0
    assert ended.stderr.count(b"content leakage") == 1
    assert b"no image has a reference" in ended.stderr


def test_baselines_that_lack_strangers_are_said(megastyle, labelled):
    given = ("--reference", labelled.parent / "1-1.png")

    bare = megastyle("eval", labelled, *given, "--leakage", "--max-errors", 1)
    whole = megastyle(
        *("eval", labelled, *given, "--others", labelled.parent / "2-1.png", "--max-errors", 1)
    )

    assert b"no random style score and no CSLS: add --others" in bare.stderr
    assert b"no content leakage: add --others" in bare.stderr
    assert whole.returncode == 0 and b"--others" not in whole.stderr


def test_a_single_picture_has_no_interval(megastyle, labelled):
    folder = labelled.parent

    ended = megastyle("eval", folder / "1-2.png", "--reference", folder / "1-1.png")

    message = summary_of(ended)
    assert not any(name.endswith(("_low", "_high")) for name in message)
    assert f"style score {message['style_score']:.3f}\n".encode() in ended.stderr


def test_a_benchmark_is_made_run_and_refused_once_changed(megastyle, labelled, tmp_path):
    bench = tmp_path / "bench"
    size = ("--styles", 3, "--per-style", 4)
    made = megastyle("eval", labelled, "--make-benchmark", bench, *size)
    assert made.returncode == 0 and made.stdout == b""
    assert b"12 of 12 pictures state no license" in made.stderr

    message = summary_of(megastyle("eval", "--benchmark", bench))
    assert message["benchmark"] == json.loads((bench / "benchmark.json").read_text())["hash"]
    assert message["split"] == "3 queries, 9 gallery" and message["queries"] == 3

    bench = bench.rename(tmp_path / "moved")
    for picture in tmp_path.glob("*.png"):
        picture.unlink()
    assert summary_of(megastyle("eval", "--benchmark", bench))["map_1"] == message["map_1"]
    changed = bench / lines(bench / "metadata.jsonl")[0]["file_name"]
    draw(77).save(changed)
    ended = megastyle("eval", "--benchmark", bench)
    assert ended.returncode == 2 and changed.name.encode() in ended.stderr


def test_systems_are_compared_and_their_results_folded(megastyle, labelled, tmp_path):
    size = ("--styles", 4, "--per-style", 4)
    assert megastyle("eval", labelled, "--make-benchmark", tmp_path / "b", *size).returncode == 0
    clip_folder(tmp_path / "theirs")
    systems = ("--benchmark", tmp_path / "b", "--system", "edges", "--system")
    systems = (*systems, f"theirs={tmp_path / 'theirs'}", "--cache", tmp_path / "cache")

    ended = megastyle("eval", *systems, "--table", tmp_path / "t.md")
    table = summary_of(ended)
    page = tmp_path / "page.html"
    each = megastyle("eval", *systems, "--each", "-o", tmp_path / "results.jsonl")
    folded = summary_of(megastyle("eval", tmp_path / "results.jsonl", "--page", page))

    assert [system["name"] for system in table["systems"]] == ["edges", "theirs"]
    assert table["too_few_groups"] == ["plain"]  # 4 styles
    assert b"Fewer than 20 styles (plain): too few for intervals" in ended.stderr
    assert "| edges |" in (tmp_path / "t.md").read_text() and each.returncode == 0
    assert "Two systems, style by style" in page.read_text()
    assert {**folded, "_megastyle": 0} == {**table, "_megastyle": 0}


def test_a_benchmark_never_replaces_a_data_set(megastyle, labelled, tmp_path):
    listing = tmp_path / "metadata.jsonl"
    listing.write_bytes(labelled.read_bytes())
    size = ("--styles", 3, "--per-style", 4, "--overwrite")

    ended = megastyle("eval", labelled, "--make-benchmark", tmp_path, *size)

    assert ended.returncode == 2
    assert listing.read_bytes() == labelled.read_bytes()


def test_the_page_of_a_summary_is_a_report_with_its_measures(megastyle, labelled, tmp_path):
    page = tmp_path / "report.html"

    assert megastyle("eval", labelled, "--page", page).returncode == 0

    text = page.read_text()
    assert "<svg" in text and "data:image/" in text and "Style score" in text


@pytest.mark.parametrize(
    ("flags", "place", "hint"),
    [
        ((), tempfile.gettempdir(), "run it again"),
        (("--each",), "out.jsonl", "continue with --resume"),
    ],
)
def test_a_full_disk_is_told_by_its_place_and_the_way_on(megastyle, labelled, flags, place, hint):
    command = ("eval", "set.jsonl", "-o", "out.jsonl", "-q", *flags)

    ended = megastyle(*command, cwd=labelled.parent, max_file_kib=1)

    assert ended.returncode == 1
    sentence = f"error: {place}: file too large\n       Make room and {hint}\n"
    assert ended.stderr.decode() == sentence


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--pair-by", "stem"), b"--reference"),
        (("--benchmark", "nowhere"), b"--benchmark"),
        (("--reference", "missing.png"), b"missing.png"),
        (("--ranks", "0"), b"--ranks"),
        (("--make-benchmark", "b", "--styles", 9, "--per-style", 4), b"4 of 4 styles"),
        (("--make-benchmark", "b", "--where", "license"), b"not KEY=VALUE"),
        (("--system", "edges"), b"--system and --tier need a benchmark"),
        (("--table", "t.md"), b"holds no results by query"),
        (("--tier", "grey", "--leakage"), b"takes no --leakage"),
    ],
)
def test_a_mistake_is_one_sentence(megastyle, labelled, tmp_path, flags, word):
    ended = megastyle("eval", labelled, *flags, cwd=tmp_path)

    assert ended.returncode == 2 and ended.stdout == b""
    assert word in ended.stderr and b"Traceback" not in ended.stderr
