"""`synth` with a text-to-image model and with filters, as a command: from records to a folder."""

import json
import signal
import subprocess
import time

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests import fork_server
from tests.conftest import draw, jsonl, lines
from tests.tiny_pipelines import save_tiny_qwen

FAST = ("--size", 48, "--steps", 2, "--device", "cpu")
ANIMALS = ("fox", "cat", "dog", "crocodile", "owl", "heron", "ox", "bee")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tiny Qwen-Image, pairs in words, and pairs with pictures."""
    folder = tmp_path_factory.mktemp("synth")
    save_tiny_qwen(folder / "tiny")
    jsonl(
        folder / "pairs.jsonl",
        [
            {"id": f"s1_c{animal}", "content": f"A {animal}", "style": "In a style of woodcut."}
            for animal in ANIMALS
        ],
    )
    for seed in range(3):
        draw(seed, 96, 96).save(folder / f"{seed}.png")
    Image.new("RGB", (96, 96), "white").save(folder / "white.png")
    shown = [("a", "0.png"), ("b", "1.png"), ("again", "0.png"), ("blank", "white.png")]
    jsonl(
        folder / "shown.jsonl",
        [{"id": i, "content_file_name": c, "style_file_name": "2.png"} for i, c in shown],
    )
    return folder


def tree(folder):
    """Every file of an output but run.json, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.json"
    }


def test_images_are_made_from_text_and_record_their_settings(megastyle, made, tmp_path):
    records = [*lines(made / "pairs.jsonl")[:2], {"id": "mute", "content": "A fox"}]
    listing = jsonl(tmp_path / "pairs.jsonl", records)

    ended = megastyle("synth", listing, "--model", made / "tiny", *FAST, "-o", tmp_path / "out")

    assert ended.returncode == 3  # one of them failed
    fox, cat = lines(tmp_path / "out" / "metadata.jsonl")
    notes = fox["_megastyle"]["synth"]
    assert (fox["id"], fox["width"], fox["height"]) == ("s1_cfox", 48, 48)
    assert (notes["steps"], notes["guidance"], notes["negative"]) == (2, 4.0, " ")
    assert notes["model"].startswith(f"{made / 'tiny'}@") and fox["seed"] != cat["seed"]
    with Image.open(tmp_path / "out" / fox["file_name"]) as picture:
        assert (picture.format, picture.size) == ("PNG", (48, 48))
    (mute,) = lines(tmp_path / "out" / "errors.jsonl")
    assert mute["_error"]["kind"] == "missing_key"
    assert "record mute" in mute["_error"]["message"] and "no style" in mute["_error"]["message"]


def test_batch_size_ranks_and_an_interruption_do_not_change_the_output(megastyle, made, tmp_path):
    args = (made / "pairs.jsonl", "--model", made / "tiny", *FAST, "--steps", 24)
    whole = megastyle("synth", *args, "--batch-size", 3, "-o", tmp_path / "whole")
    assert whole.returncode == 0

    one_by_one = (*args, "--batch-size", 1, "-o", tmp_path / "stopped")
    stopped = start("synth", *one_by_one)
    stop_after_a_line(stopped, tmp_path / "stopped" / "metadata.jsonl.partial")
    assert stopped.wait() == 75
    before = lines(tmp_path / "stopped" / "metadata.jsonl.partial")
    assert 0 < len(before) < len(ANIMALS)
    assert megastyle("synth", *one_by_one, "--resume").returncode == 0
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")

    command = ("synth", *args, "--shard", "0/1", "-o", tmp_path / "ranks")
    ranks = [fork_server.start(*command, RANK=f"{rank}", WORLD_SIZE="2") for rank in range(2)]
    assert [rank.wait() for rank in ranks] == [0, 0]
    parts = [tmp_path / "ranks" / f"part-0000{r}-of-00002" for r in (0, 1)]
    found = [lines(part / "metadata.jsonl") for part in parts]
    assert all(found) and by_id(found[0] + found[1]) == by_id(
        lines(tmp_path / "whole" / "metadata.jsonl")
    )
    pictures = {
        name: content
        for part in parts
        for name, content in tree(part).items()
        if name.endswith(".png")
    }
    assert pictures.items() <= tree(tmp_path / "whole").items()
    assert len(pictures) == len(ANIMALS)


def by_id(records):
    return sorted(records, key=lambda record: record["id"])


def start(*args):
    return fork_server.start(*args, stderr=subprocess.DEVNULL)


def stop_after_a_line(process, path):
    while process.poll() is None and not (path.exists() and path.read_bytes().count(b"\n")):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)


FILTERS = ("--reject-blank", "--reject-duplicates", "--size", 64)


def test_rejected_images_are_not_failures_and_are_not_retried(megastyle, made, tmp_path):
    args = (made / "shown.jsonl", *FILTERS, "--strength", 0, "-o", tmp_path / "out")

    ended = megastyle("synth", *args, "--stats", tmp_path / "stats.json")

    assert ended.returncode == 0
    summary = "4 in · 2 out · 2 rejected (1 blank, 1 duplicate) · 0 failed"
    assert summary in ended.stderr.decode()
    assert [r["id"] for r in lines(tmp_path / "out" / "metadata.jsonl")] == ["a", "b"]
    again, blank = lines(tmp_path / "out" / "rejects.jsonl")
    notes = {r["id"]: r["_megastyle"]["synth"] for r in (again, blank)}
    assert (notes["again"]["rejected"], notes["again"]["score"]) == ("duplicate", 1.0)
    assert (notes["blank"]["rejected"], notes["blank"]["score"]) == ("blank", 0.0)
    assert again["content_file_name"] and "file_name" not in again
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["rejected"] == {"blank": 1, "duplicate": 1} and stats["failed"] == 0
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 2

    resumed = megastyle("synth", *args, "--resume")
    assert resumed.returncode == 0 and "0 in (4 done before)" in resumed.stderr.decode()


def test_a_resumed_run_compares_with_earlier_images_and_not_with_itself(megastyle, made, tmp_path):
    args = (*FILTERS, "--strength", 0, "-o", tmp_path / "out")
    records = lines(made / "shown.jsonl")
    first = jsonl(made / "first.jsonl", records[:2])
    assert megastyle("synth", first, *args).returncode == 0
    # killed between the hash of b and its record
    listing = tmp_path / "out" / "metadata.jsonl"
    kept = listing.read_bytes().splitlines(keepends=True)[:1]
    listing.with_name("metadata.jsonl.partial").write_bytes(b"".join(kept))
    listing.unlink()

    assert megastyle("synth", made / "shown.jsonl", *args, "--resume").returncode == 0

    assert [r["id"] for r in lines(listing)] == ["a", "b"]
    assert [r["id"] for r in lines(tmp_path / "out" / "rejects.jsonl")] == ["again", "blank"]


@pytest.fixture(scope="module")
def styles(made):
    """Three styles of four images, one of each a drawing among noise; a style of one image."""
    args = []
    for style in range(3):
        for n in range(4):
            name = f"{style}{n}.png"
            is_drawn = n == style
            noise = Image.effect_noise((96, 96), 60 + 9 * style + 2 * n).convert("RGB")
            (draw(style, 96, 96) if is_drawn else noise).save(made / name)
            args.append({"id": f"s{style}_c{n}", "style_id": str(style), "content": name})
    args.append({"id": "s9_c0", "style_id": "9", "content": "30.png"})
    draw(7, 96, 96).save(made / "30.png")
    args = [
        {**one, "content_file_name": one["content"], "style_file_name": "2.png"} for one in args
    ]
    return jsonl(made / "styles.jsonl", args)


OUTLIERS = ["s0_c0", "s1_c1", "s2_c2"]
# cosines of the builtin encoder: 0.98 between two noise images, 0.3 between noise and a drawing
BY_CONSISTENCY = ("--size", 64, "--strength", 0, "--min-style-score", 0.6)


def test_images_unlike_the_others_of_their_style_are_rejected(megastyle, styles, tmp_path):
    ended = megastyle("synth", styles, *BY_CONSISTENCY, "-o", tmp_path / "out")

    assert ended.returncode == 0 and "3 rejected (3 style)" in ended.stderr.decode()
    rejected = lines(tmp_path / "out" / "rejects.jsonl")
    assert [record["id"] for record in rejected] == OUTLIERS
    assert all(record["_megastyle"]["synth"]["score"] < 0.6 for record in rejected)
    assert len(lines(tmp_path / "out" / "metadata.jsonl")) == 10


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_batch_size_and_shards_do_not_change_what_is_rejected(megastyle, styles, tmp_path, shards):
    megastyle("synth", styles, *BY_CONSISTENCY, "-o", tmp_path / "whole")
    for n in range(shards):
        flags = ("--batch-size", 1, *(("--shard", f"{n}/{shards}") if shards > 1 else ()))
        ended = megastyle("synth", styles, *BY_CONSISTENCY, *flags, "-o", tmp_path / "parts")
        assert ended.returncode == 0, ended.stderr

    for name in ("metadata.jsonl", "rejects.jsonl"):
        found = [one for path in (tmp_path / "parts").rglob(name) for one in lines(path)]
        assert by_id(map(portable, found)) == by_id(map(portable, lines(tmp_path / "whole" / name)))
    assert {path.name for path in (tmp_path / "parts").rglob("*.png")} == {
        path.name for path in (tmp_path / "whole").rglob("*.png")
    }


def portable(record):
    """The record without file names, which depend on its folder."""
    return {key: value for key, value in record.items() if not str(value).startswith("..")}


@pytest.mark.parametrize("written", [1, 2, 5, 7])
def test_a_style_interrupted_by_a_kill_is_filtered_as_a_whole(megastyle, styles, tmp_path, written):
    args = ("synth", styles, *BY_CONSISTENCY, "--reject-duplicates")
    whole, out = tmp_path / "whole", tmp_path / "out"
    for folder in (whole, out):
        assert megastyle(*args, "-o", folder).returncode == 0
    # as a kill leaves it, some lines of the listing written and none of the rejects
    kept = (out / "metadata.jsonl").read_bytes().splitlines(keepends=True)[:written]
    (out / "metadata.jsonl.partial").write_bytes(b"".join(kept))
    (out / "metadata.jsonl").unlink()
    (out / "rejects.jsonl").unlink()

    ended = megastyle(*args, "-o", out, "--resume")

    assert ended.returncode == 0, ended.stderr
    assert tree(out) == tree(whole)


def test_images_unlike_their_reference_are_rejected(megastyle, made, tmp_path):
    rejects = tmp_path / "unlike.jsonl"
    flags = ("--min-style-score", 0.999, "--style-against", "reference")
    args = (made / "shown.jsonl", "--size", 64, *flags)

    ended = megastyle("synth", *args, "--rejects", rejects, "-o", tmp_path / "out")

    assert ended.returncode == 0 and "4 rejected (4 style)" in ended.stderr.decode()
    scores = [r["_megastyle"]["synth"]["score"] for r in lines(rejects)]
    assert len(scores) == 4 and all(0 < score < 0.999 for score in scores)


def test_comparing_with_a_reference_needs_one(megastyle, made, tmp_path):
    flags = ("--min-style-score", 0, "--style-against", "reference")
    args = (made / "pairs.jsonl", "--limit", 1, *flags)

    ended = megastyle("synth", *args, "-o", tmp_path / "out")

    assert ended.returncode == 3
    (failed,) = lines(tmp_path / "out" / "errors.jsonl")
    assert failed["_error"]["message"] == "record s1_cfox has no style_file_name"


def test_a_model_that_returns_nan_fails_its_records(megastyle, made, tmp_path):
    folder = save_tiny_qwen(tmp_path / "broken")
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    weights["decoder.conv_out.bias"].fill_(torch.nan)
    save_file(weights, file)

    args = (made / "pairs.jsonl", "--limit", 1, "--model", folder, *FAST)
    ended = megastyle("synth", *args, "-o", tmp_path / "out")

    assert ended.returncode == 3
    (failed,) = lines(tmp_path / "out" / "errors.jsonl")
    assert failed["_error"]["kind"] == "model_error" and "NaN" in failed["_error"]["message"]


def error_line(megastyle, made, tmp_path, *flags, **env):
    """The sentence that a call with invalid options prints, and its hint."""
    ended = megastyle(
        *("synth", made / "pairs.jsonl", *flags, "-o", tmp_path / "out"), cwd=made, **env
    )
    assert (ended.returncode, ended.stdout) == (2, b""), ended.stderr
    sentence, hint = ended.stderr.decode().splitlines()
    return f"{sentence}: {hint.strip()}"


def test_a_missing_model_says_how_to_download_it(megastyle, made, tmp_path):
    line = error_line(megastyle, made, tmp_path, "--model", "Qwen/Qwen-Image")

    assert "Qwen/Qwen-Image is not in the local cache and the hub cannot be reached" in line
    assert "hf download Qwen/Qwen-Image" in line


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--model", "./nothing"), "there is no model folder ./nothing"),
        (("--steps", "4"), "--steps is for a text-to-image model, not for backend 'builtin'"),
        (("--compile",), "--compile is for a text-to-image model"),
        (("--size", "64x48"), "--size 64x48 is for a text-to-image model"),
        (("--model", "tiny", "--size", "4"), "--size is '4', not PX or WIDTHxHEIGHT"),
        (("--model", "tiny", "--preset", "lightning"), "is for a distilled LoRA"),
        (("--model", "tiny", "--lora", "none.safetensors"), "there is no LoRA none.safetensors"),
        (("--rejects", "r.jsonl"), "--rejects needs a filter"),
        (("--reject-blank", "--rejects", "r.jsonl", "--shard", "0/2"), "shards cannot share"),
        (("--style-model", "tower"), "--style-model needs --min-style-score"),
        (("--style-against", "reference"), "--style-against needs --min-style-score"),
        (("--nsfw", "./nothing", "--model", "tiny"), "there is no classifier ./nothing"),
    ],
)
def test_options_that_conflict_are_reported_in_one_line(megastyle, made, tmp_path, flags, part):
    assert part in error_line(megastyle, made, tmp_path, *flags)
