"""The scripts of examples/builtin_flux.sh: the lists, the parts of the model, the measures."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from megastyle_cli.core.errors import BadRecord
from megastyle_cli.models.flux.loader import load_flux
from megastyle_cli.models.flux.prompt_embeddings import (
    check_known_words,
    encode_prompts,
    max_text_tokens,
)
from megastyle_cli.models.flux.vae import images_to_pixels
from tests.conftest import draw, jsonl
from tests.tiny_flux import tiny_transformer

pytest.importorskip("wordllama")
EXAMPLES = Path(__file__).parents[1] / "examples"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scripts():
    """The three Python scripts that it calls."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(EXAMPLES)
        names = ("data", "parts", "measure")
        return SimpleNamespace(**{n: importlib.import_module(f"builtin_flux_{n}") for n in names})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six styles of seven contents: two held out, one for validation, one under the GPL."""
    folder = tmp_path_factory.mktemp("pictures")
    contents = ("bell", "book", "cat", "arrow-left", "home", "key", "star")
    rows = []
    for style in range(6):
        for k, content in enumerate(contents):
            name = f"{style}-{content}.png"
            draw(10 * style + k, 64, 64).save(folder / name)
            row = {"group": f"g{style}", "license": "MIT" if style else "GPL-3"}
            split = "heldout" if style in (3, 4) else "train"
            row["source"] = "@iconify/json oi:x" if style == 5 else "hand"
            row |= {"file_name": name, "style_id": f"s{style}", "content": content}
            rows.append({"id": name, "split": split, **row})
    jsonl(folder / "metadata.jsonl", rows)
    return folder


@pytest.fixture(scope="module")
def out(scripts, pictures, tmp_path_factory):
    made = tmp_path_factory.mktemp("out")
    scripts.data.write_lists(pictures, [], made, 7)
    scripts.parts.make_parts(made, 1, 2)
    return made


def test_held_out_and_unfree_styles_are_never_trained_on(scripts, out):
    training, requests = (
        scripts.data.read_records(out / "train.jsonl"),
        scripts.data.read_records(out / "asked.jsonl"),
    )

    splits = {row["style_id"]: row["split"] for row in training}

    assert splits == {"s1": "train", "s2": "train", "s5": "heldout"}
    assert {row["style_id"] for row in requests} == {"s3", "s4"}
    assert all(row["style_file_name"] != row["target_file_name"] for row in requests)


def test_each_word_of_a_prompt_has_its_vector(out):
    pipeline = load_flux(str(out / "parts"), torch.float32, tiny_transformer())

    left, right, bell = (
        encode_prompts(pipeline, [text], CPU) for text in ("arrow left", "left", "bell")
    )

    assert max_text_tokens(pipeline) == left.states.shape[1] == 4
    assert torch.allclose(left.states[0, 1], right.states[0, 0], atol=1e-5)  # one word, one vector
    assert not torch.allclose(bell.states[0, 0], right.states[0, 0], atol=0.1)
    assert not torch.allclose(bell.pooled, right.pooled, atol=0.1)


def test_words_are_case_insensitive_and_unknown_ones_raise(out):
    pipeline = load_flux(str(out / "parts"), torch.float32, tiny_transformer())

    lower, upper = (encode_prompts(pipeline, [text], CPU) for text in ("arrow left", "ARROW Left"))
    check_known_words(pipeline, "ARROW Left")

    assert torch.equal(lower.states, upper.states) and torch.equal(lower.pooled, upper.pooled)
    with pytest.raises(BadRecord, match="does not know a, dog: it knows arrow, bell, book, cat"):
        check_known_words(pipeline, "a cat dog")


def test_latents_have_mean_0_and_standard_deviation_1(scripts, out):
    pipeline = load_flux(str(out / "parts"), torch.float32, tiny_transformer())
    rows = scripts.data.read_records(out / "train.jsonl")

    with torch.inference_mode():
        pixels = images_to_pixels(scripts.data.open_images([row["file_name"] for row in rows]))
        raw = pipeline.vae.encode(pixels).latent_dist.mode()
    latents = (raw - pipeline.vae.config.shift_factor) * pipeline.vae.config.scaling_factor

    assert latents.shape[1:] == (16, 16, 16)
    assert abs(latents.mean().item()) < 0.2 and abs(latents.std().item() - 1) < 0.2


def test_a_copy_of_the_reference_seldom_has_the_requested_content(scripts, out):
    requests = scripts.data.read_records(out / "asked.jsonl")
    classify = scripts.measure.content_classifier(out)
    wanted = np.array([row["content"] for row in requests])

    copied = (
        classify(scripts.data.open_images([row["style_file_name"] for row in requests])) == wanted
    )

    assert copied.mean() < 0.5


def test_intervals_contain_the_mean_and_are_narrow_where_styles_agree(scripts):
    styles = np.repeat(["a", "b", "c", "d"], 5)
    same_styles = scripts.measure.interval(np.tile([1.0, 0, 0, 1, 0], 4), styles)

    assert same_styles == " 40.0 % (40.0 to 40.0)"  # every style has this mean
    assert scripts.measure.interval(np.repeat([1.0, 0, 0, 1], 5), styles) != same_styles
