"""transfer with FLUX: a prompt or records to pictures, and one sentence where it cannot be."""

import io

import pytest
from PIL import Image

from megastyle_cli.models.lora import save_lora, targets
from tests.conftest import draw, jsonl, lines
from tests.models.test_lora import made_lora
from tests.tiny_flux import save_tiny_flux

FAST = ("--size", 48, "--steps", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a tiny FLUX, a LoRA of it and two references."""
    folder = tmp_path_factory.mktemp("transfer")
    save_tiny_flux(folder / "tiny")
    save_lora(made_lora(targets(2, 2), 32), folder / "lora.safetensors")
    for seed in (1, 2):
        draw(seed).save(folder / f"ref{seed}.png")
    return folder


def test_a_prompt_and_a_reference_make_one_picture_on_standard_output(megastyle, made):
    asked = ("--style", made / "ref1.png", "--prompt", "a fox on a hill", "--model", made / "tiny")

    ended = megastyle("transfer", *asked, "--lora", made / "lora.safetensors", *FAST, "-o", "-")

    assert (ended.returncode, ended.stderr) == (0, b"")
    with Image.open(io.BytesIO(ended.stdout)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (48, 48))


def test_records_bring_words_and_references(megastyle, made, tmp_path):
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


def refused(megastyle, made, *flags, **env):
    """The sentence of a call that is refused before anything is written."""
    out = made / "never.png"
    ended = megastyle(
        *("transfer", "--style", made / "ref1.png", "--prompt", "a fox", *flags, "-o", out), **env
    )
    assert ended.returncode == 2 and ended.stdout == b"" and not out.exists()
    (sentence,) = ended.stderr.decode().splitlines()
    return sentence


def test_a_model_that_cannot_be_had_says_what_to_fetch_and_where_to_put_it(
    megastyle, made, tmp_path
):
    sentence = refused(
        *(megastyle, made, "--model", "black-forest-labs/FLUX.1-dev"),
        HF_HUB_OFFLINE="1",
        HF_HOME=str(tmp_path),
    )

    assert "cannot be had" in sentence
    assert "hf download black-forest-labs/FLUX.1-dev" in sentence
    assert sentence.endswith("and give --model FLUX.1-dev")


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--lora", "none.safetensors", "--model", "tiny"), "there is no LoRA none.safetensors"),
        (("--steps", "4"), "--steps is for FLUX, not for backend 'builtin'"),
        (("--size", "768x512"), "--size 768x512 is for FLUX"),
        (("--size", "4"), "--size is '4', not PX or WIDTHxHEIGHT"),
        (("--size", "3x4x5"), "--size is '3x4x5', not PX or WIDTHxHEIGHT"),
        (("--model", "tiny", "--content", "ref1.png"), "only with --content-strength"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(megastyle, made, flags, part):
    assert part in refused(megastyle, made, *flags)
