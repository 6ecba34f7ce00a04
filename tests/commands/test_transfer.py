"""`transfer` with FLUX, as a command: from a prompt or records to images, and its errors."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from tests.conftest import draw, jsonl, lines
from tests.tiny_flux import random_lora, save_tiny_flux

FAST = ("--size", 48, "--steps", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tiny FLUX, a LoRA of it and two references."""
    folder = tmp_path_factory.mktemp("transfer")
    save_tiny_flux(folder / "tiny")
    save_lora(random_lora(target_modules(2, 2)), folder / "lora.safetensors")
    for seed in (1, 2):
        draw(seed).save(folder / f"ref{seed}.png")
    return folder


def test_a_prompt_and_a_reference_give_one_png_on_standard_output(megastyle, made):
    args = ("--style", made / "ref1.png", "--prompt", "a fox on a hill", "--model", made / "tiny")
    lora = ("--lora", made / "lora.safetensors")

    ended = megastyle("transfer", *args, *lora, *FAST, "-o", "-")

    assert (ended.returncode, ended.stderr) == (0, b"")
    with Image.open(io.BytesIO(ended.stdout)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (48, 48))


def test_records_give_text_and_references(megastyle, made, tmp_path):
    records = [
        {"id": "fox", "content": "a fox", "style_file_name": "ref1.png", "license": "cc0"},
        {"id": "mute", "style_file_name": "ref2.png"},
        {"id": "cat", "content": "a cat", "style_file_name": "ref2.png"},
    ]
    listing = jsonl(made / "records.jsonl", records)

    ended = megastyle("transfer", listing, "--model", made / "tiny", *FAST, "-o", tmp_path / "out")

    assert ended.returncode == 3  # one of them failed
    fox, cat = lines(tmp_path / "out" / "metadata.jsonl")
    assert (fox["id"], fox["license"], fox["width"], fox["height"]) == ("fox", "cc0", 48, 48)
    assert fox["_megastyle"]["transfer"]["steps"] == 2
    with Image.open(tmp_path / "out" / cat["file_name"]) as picture:
        assert picture.size == (48, 48)
    (mute,) = lines(tmp_path / "out" / "errors.jsonl")
    assert mute["_error"]["kind"] == "missing_key"


def test_builtin_flux_renders_a_known_word_in_the_colour_of_a_reference(megastyle, tmp_path):
    colours = {"violet": "hsl(260, 80%, 55%)", "black": "hsl(0, 0%, 10%)"}
    painted = {}
    for name, colour in colours.items():
        reference = Image.new("RGB", (256, 256), "white")
        ImageDraw.Draw(reference).ellipse((30, 30, 226, 226), fill=colour)
        reference.save(tmp_path / f"{name}.png")
        args = ("--style", tmp_path / f"{name}.png", "--prompt", "star", "--steps", 10)

        ended = megastyle(
            "transfer", *args, "--model", "builtin-flux", "--device", "cpu", "-o", "-"
        )

        assert (ended.returncode, ended.stderr) == (0, b"")
        picture = np.asarray(Image.open(io.BytesIO(ended.stdout)).convert("HSV"), float) / 255
        assert picture.shape == (64, 64, 3)
        painted[name] = picture
    drawn = {name: picture[..., 2] < 0.7 for name, picture in painted.items()}
    colourful = {name: picture[..., 1].mean() for name, picture in painted.items()}
    assert 0.05 < drawn["black"].mean() < 0.8
    assert colourful["violet"] > 3 * colourful["black"]


def test_builtin_flux_names_a_word_that_it_does_not_know(megastyle, made, tmp_path):
    style = ("--style", made / "ref1.png", "--model", "builtin-flux", "--steps", 2)

    alone = megastyle("transfer", *style, "--prompt", "a star", "-o", tmp_path / "no.png")
    jsonl(tmp_path / "in.jsonl", [{"id": "1", "content": "STAR"}, {"id": "2", "content": "fox"}])
    many = megastyle("transfer", *style, tmp_path / "in.jsonl", "-o", tmp_path / "out")

    assert alone.returncode == 3 and not (tmp_path / "no.png").exists()
    assert b"does not know a: it knows bell, bookmark" in alone.stderr
    assert many.returncode == 3
    assert [row["id"] for row in lines(tmp_path / "out" / "metadata.jsonl")] == ["1"]
    (fox,) = lines(tmp_path / "out" / "errors.jsonl")
    assert (fox["id"], fox["_error"]["kind"]) == ("2", "unknown_word")


def test_a_lora_that_overflows_gives_a_failure_and_no_black_image(megastyle, made, tmp_path):
    lora = random_lora(target_modules(2, 2))
    next(iter(lora.values())).up.fill_(1e38)
    save_lora(lora, tmp_path / "huge.safetensors")
    how = ("--model", made / "tiny", "--lora", tmp_path / "huge.safetensors", *FAST)
    listing = jsonl(
        made / "huge.jsonl", [{"id": "fox", "content": "a fox", "style_file_name": "ref1.png"}]
    )

    alone = megastyle(
        *("transfer", "--style", made / "ref1.png", "--prompt", "a fox", *how),
        *("-o", tmp_path / "huge.png"),
    )
    many = megastyle("transfer", listing, *how, "-o", tmp_path / "out")

    assert (alone.returncode, many.returncode) == (3, 3)
    assert not (tmp_path / "huge.png").exists()
    assert b"of the pixels are NaN: try --dtype" in alone.stderr
    (fox,) = lines(tmp_path / "out" / "errors.jsonl")
    assert fox["_error"]["kind"] == "model_error"


DOG = Path(__file__).parents[2] / "examples" / "pictures" / "contents" / "golden-retriever.jpg"


def test_a_photo_without_text_is_rendered_from_what_is_recognised_on_it(megastyle, made, tmp_path):
    style = ("--style", made / "ref1.png", "--model", made / "tiny", *FAST)

    by_photo = megastyle("transfer", *style, DOG, "-o", tmp_path / "photo")
    by_words = megastyle(
        *("transfer", *style, "--prompt", "golden retriever", "-o", tmp_path / "words.png")
    )

    assert (by_photo.returncode, by_words.returncode) == (0, 0)
    (record,) = lines(tmp_path / "photo" / "metadata.jsonl")
    assert record["content"] == "golden retriever"
    assert record["_megastyle"]["caption"]["model"] == "builtin"
    assert (record["width"], record["height"]) == (48, 48)


def test_given_text_takes_precedence_over_what_is_recognised(megastyle, made, tmp_path):
    listing = jsonl(
        made / "worded.jsonl",
        [{"id": "dog", "content": "a fox", "file_name": str(DOG), "style_file_name": "ref1.png"}],
    )

    ended = megastyle("transfer", listing, "--model", made / "tiny", *FAST, "-o", tmp_path / "out")

    assert ended.returncode == 0
    (record,) = lines(tmp_path / "out" / "metadata.jsonl")
    assert record["content"] == "a fox" and "caption" not in record["_megastyle"]


def test_content_strength_starts_from_the_photo(megastyle, made, tmp_path):
    args = ("--style", made / "ref1.png", "--model", made / "tiny", "--content", DOG, *FAST)

    ended = megastyle("transfer", *args, "--content-strength", 0.5, "-o", tmp_path / "dog.png")

    assert ended.returncode == 0
    (remark,) = ended.stderr.decode().splitlines()
    assert remark.endswith("its style will hardly show: give --lora megastyle_flux.safetensors")
    with Image.open(tmp_path / "dog.png") as picture, Image.open(DOG) as photo:
        assert max(picture.size) == 48
        assert (picture.width > picture.height) == (photo.width > photo.height)


def test_guidance_changes_the_image_and_is_refused_by_builtin_flux(megastyle, made, tmp_path):
    how = ("--style", made / "ref1.png", "--lora", made / "lora.safetensors", *FAST)
    args = ("--prompt", "a fox", "--model", made / "tiny", *how)

    guided, plain = (
        megastyle("transfer", *args, "--guidance", number, "-o", "-").stdout for number in (60, 3.5)
    )
    small = megastyle(
        *("transfer", "--style", made / "ref1.png", "--prompt", "star", "--guidance", 3.5),
        *("--model", "builtin-flux", "--device", "cpu", "-o", tmp_path / "no.png"),
    )

    assert guided != plain == megastyle("transfer", *args, "-o", "-").stdout != b""
    assert small.returncode == 2
    assert b"builtin-flux has no guidance input, but --guidance 3.5 is given" in small.stderr


def test_only_settings_that_change_pixels_are_recorded(megastyle, made, tmp_path):
    listing = jsonl(
        made / "one.jsonl", [{"id": "fox", "content": "a fox", "style_file_name": "ref1.png"}]
    )
    how = ("--preset", "fast-cache", "--offload", "modulation")

    for name, flags in (("fast", how), ("exact", ())):
        out = tmp_path / name
        ended = megastyle("transfer", listing, "--model", made / "tiny", *FAST, *flags, "-o", out)
        assert ended.returncode == 0

    (fast,), (exact,) = (lines(tmp_path / n / "metadata.jsonl") for n in ("fast", "exact"))
    assert fast["_megastyle"]["transfer"]["preset"] == "fast-cache"
    assert "preset" not in exact["_megastyle"]["transfer"]
    assert "offload" not in fast["_megastyle"]["transfer"]


def test_a_lora_is_converted_there_and_back_and_counts_its_modules(megastyle, made, tmp_path):
    given = ("--lora", made / "lora.safetensors", "--model", made / "tiny")
    middle, back = tmp_path / "d.safetensors", tmp_path / "o.safetensors"

    first = megastyle("transfer", *given, "--to", "diffusers", "-o", middle)
    second = megastyle("transfer", "--lora", middle, *given[2:], "--to", "official", "-o", back)

    assert (first.returncode, second.returncode, first.stdout) == (0, 0, b"")
    assert b"78 tensors, 26 modules of rank 4 -> d.safetensors (diffusers): 80" in first.stderr
    assert load_file(back).keys() == load_file(given[1]).keys()
    assert all(torch.equal(load_file(back)[k], w) for k, w in load_file(given[1]).items())


RENDER = (*("--style", "ref1.png", "--prompt", "a fox", "--steps", 1), *FAST[:2], *FAST[4:])


@pytest.mark.parametrize(
    ("args", "output"),
    [(RENDER, "big.png"), (("--lora", "lora.safetensors", "--to", "peft"), "big.safetensors")],
)
def test_a_full_disk_leaves_no_file_and_does_not_suggest_resume(
    megastyle, made, tmp_path, args, output
):
    command = ("transfer", "--model", "tiny", *args, "-o", tmp_path / output)

    ended = megastyle(*command, cwd=made, max_file_kib=1)

    assert ended.returncode == 1
    assert ended.stderr.endswith(
        f"{output}: file too large\n       Make room and run it again\n".encode()
    )
    assert not list(tmp_path.iterdir())


def test_a_converted_lora_creates_its_folder_and_follows_the_umask(megastyle, made, tmp_path):
    given = ("--lora", made / "lora.safetensors", "--model", made / "tiny")
    out = tmp_path / "new" / "d.safetensors"

    ended = megastyle("transfer", *given, "--to", "diffusers", "-o", out)

    assert ended.returncode == 0
    beside = tmp_path / "beside"
    beside.touch()
    assert out.stat().st_mode == beside.stat().st_mode
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ((), "which fit 26 of 304 modules (278 without weights"),
        (("--style", "ref1.png"), "--style cannot be combined with --to"),
    ],
)
def test_a_conversion_that_is_not_possible_is_reported(megastyle, made, flags, part):
    args = ("--lora", "lora.safetensors", "--to", "peft", "-o", "never.safetensors", *flags)

    ended = megastyle("transfer", *args, cwd=made)

    assert ended.returncode == 2 and not (made / "never.safetensors").exists()
    assert part in ended.stderr.decode().splitlines()[0]


def test_a_bad_record_fails_with_its_reason_and_the_others_are_rendered(megastyle, made, tmp_path):
    (made / "noise.png").write_bytes(b"not a picture")
    wanted = {
        "gone": ("bad_image", "gone.png does not exist"),
        "noise": ("bad_image", "is not an image"),
        "no_style": ("missing_key", "has no style_file_name: give --style"),
        "no_words": ("missing_key", "has neither content nor a content image"),
        "number": ("missing_key", "has content 5, not text"),
        "unknown": ("missing_key", "ref2.png shows was not recognized"),
        "two_styles": ("missing_key", "has style_file_name ['ref1.png'], not one file name"),
    }
    records = [
        {"id": "gone", "content": "a fox", "style_file_name": "gone.png"},
        {"id": "noise", "content": "a fox", "style_file_name": "noise.png"},
        {"id": "no_style", "content": "a fox"},
        {"id": "no_words", "style_file_name": "ref1.png"},
        {"id": "number", "content": 5, "style_file_name": "ref1.png"},
        {"id": "unknown", "file_name": "ref2.png", "style_file_name": "ref1.png"},
        {"id": "two_styles", "content": "a fox", "style_file_name": ["ref1.png"]},
        {"id": "fine", "content": "a fox", "style_file_name": "ref1.png"},
    ]
    listing = jsonl(made / "failing.jsonl", records)

    ended = megastyle("transfer", listing, "--model", made / "tiny", *FAST, "-o", tmp_path / "out")

    assert ended.returncode == 3 and b"Traceback" not in ended.stderr
    (fine,) = lines(tmp_path / "out" / "metadata.jsonl")
    assert fine["id"] == "fine"
    errors = {e["id"]: e["_error"] for e in lines(tmp_path / "out" / "errors.jsonl")}
    assert errors.keys() == wanted.keys()
    for name, (kind, part) in wanted.items():
        assert errors[name]["kind"] == kind and part in errors[name]["message"]


def error_line(megastyle, made, *flags, **env):
    """The sentence that a call with invalid options prints, and its hint."""
    out = made / "never.png"
    ended = megastyle(
        *("transfer", "--style", made / "ref1.png", "--prompt", "a fox", *flags, "-o", out), **env
    )
    assert ended.returncode == 2 and ended.stdout == b"" and not out.exists()
    sentence, hint = ended.stderr.decode().splitlines()
    return f"{sentence}: {hint.strip()}"


@pytest.mark.parametrize("flags", [("--style", "ref1.png", "--prompt", "a fox"), ("--to", "peft")])
def test_a_missing_lora_says_how_to_download_it(megastyle, made, flags):
    ended = megastyle(
        *("transfer", *flags, "--lora", "none.safetensors", "--model", "tiny"),
        *("-o", "never.safetensors" if "--to" in flags else "never.png"),
        cwd=made,
    )

    assert ended.returncode == 2
    assert ended.stderr.decode() == (
        "error: there is no LoRA none.safetensors\n       Download the official one: hf download"
        " Gaojunyao/MegaStyle megastyle_flux.safetensors --local-dir . ; then give --lora"
        " megastyle_flux.safetensors\n"
    )


@pytest.mark.parametrize("words", ["a fox on a hill", "A fox. It runs", "a fox " * 100])
def test_a_prompt_given_as_an_input_suggests_the_prompt_option(megastyle, made, words):
    ended = megastyle("transfer", "--style", made / "ref1.png", words, "-o", "never.png", cwd=made)

    assert ended.returncode == 2 and not (made / "never.png").exists()
    assert ended.stderr.decode().endswith(
        f'To generate an image from text, give --prompt "{words}" with --model\n'
    )


def test_a_mistyped_file_name_is_not_taken_for_a_prompt(megastyle, made):
    for name in ("my fox.png", "my photos/fox", "fox"):
        ended = megastyle("transfer", "--style", made / "ref1.png", name, "-o", "never.png")

        assert ended.returncode == 2
        assert ended.stderr.decode() == f"error: {name} does not exist\n       Check the path\n"


def test_a_missing_model_says_how_to_download_it(megastyle, made):
    line = error_line(megastyle, made, "--model", "black-forest-labs/FLUX.1-dev")

    assert "is not in the local cache and the hub cannot be reached" in line
    assert "hf download black-forest-labs/FLUX.1-dev" in line and "licence" in line


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--steps", "4"), "--steps is for FLUX, not for backend 'builtin'"),
        (("--size", "768x512"), "--size 768x512 is for FLUX"),
        (("--size", "4"), "--size is '4', not PX or WIDTHxHEIGHT"),
        (("--size", "3x4x5"), "--size is '3x4x5', not PX or WIDTHxHEIGHT"),
        (("--preset", "fast-cache"), "--preset is for FLUX, not for backend 'builtin'"),
    ],
)
def test_options_that_conflict_are_reported_in_one_line(megastyle, made, flags, part):
    assert part in error_line(megastyle, made, *flags)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("a.jpg b.jpg -o out.png", "megastyle transfer --style a.jpg b.jpg -o out.png"),
        ("a.jpg -o out/", "megastyle transfer --style STYLE.jpg a.jpg -o out/"),
        ("--prompt fox -o f.png", "--style STYLE.jpg --prompt fox --model MODEL -o f.png"),
    ],
)
def test_without_a_style_the_whole_line_is_shown(megastyle, tmp_path, words, line):
    ended = megastyle("transfer", *words.split(), cwd=tmp_path)

    assert ended.returncode == 2 and ended.stderr.startswith(b"error: --style is missing")
    assert ended.stderr.decode().rstrip().endswith(line)
    assert list(tmp_path.iterdir()) == []
