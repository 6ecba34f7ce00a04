"""CLIP's image tower as a style encoder, from transformers' layout and from CSD's."""

import pickle
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel
from transformers import CLIPImageProcessorPil as Processor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.clip_vision import center_crop, clip_pixels
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.encoders.bicubic import crop_center, floor_half, round_half

WIDTH, HEADS, LAYERS, PATCH, SIDE, SHARED = 128, 2, 2, 8, 32, 24
SIZE = {
    "hidden_size": WIDTH,
    "intermediate_size": 4 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "image_size": SIDE,
    "patch_size": PATCH,
}
PICTURES = [draw(seed, 50 + 31 * seed, 60) for seed in range(4)]


def encoder(path):
    return load("style_encoder", "clip", model=str(path), device="cpu")


def processed(pictures):
    side = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return Processor(**side)(pictures, return_tensors="pt")["pixel_values"]


def as_csd_crops(pictures):
    return torch.tensor(
        np.stack([crop_center(np.asarray(each), SIDE, round_half) for each in pictures])
    )


@pytest.mark.parametrize("size", [(70, 45), (45, 70), (32, 32), (33, 500), (9, 7), (1, 3)])
def test_the_processing_is_that_of_transformers(size):
    picture = draw(3, 90, 90).resize(size)

    ours = clip_pixels(center_crop(picture, SIDE)[None])

    assert torch.allclose(ours, processed([picture]), atol=1e-6)


@pytest.mark.parametrize("size", [(500, 333), (227, 224), (500, 224), (9, 7)])
def test_the_processing_is_clip_s_and_csd_s_to_the_last_bit_of_a_pixel(size):
    picture = draw(3, 90, 90).resize(size)
    side = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}

    clip, csd = (clip_pixels(center_crop(picture, 224, is_csd=of)).numpy() for of in (False, True))

    pixels = np.asarray(picture)
    assert np.abs(clip - Processor(**side)(picture)["pixel_values"][0]).max() < 5e-7
    assert np.abs(clip - crop_center(pixels, 224, floor_half)).max() < 5e-7
    assert np.abs(csd - crop_center(pixels, 224, round_half)).max() < 5e-7
    assert np.array_equal(clip, csd) == (size != (227, 224))


def test_a_whole_clip_without_a_projection_width_of_its_tower_gives_its_image_side(tmp_path):
    torch.manual_seed(1)
    small = {**SIZE, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1}
    whole = CLIPModel(CLIPConfig(text_config=small, vision_config=SIZE, projection_dim=SHARED))
    whole.save_pretrained(tmp_path)

    rows = encoder(tmp_path).embed(PICTURES)

    with torch.no_grad():
        features = whole.eval().get_image_features(processed(PICTURES)).pooler_output
    assert np.allclose(rows, functional.normalize(features).numpy(), atol=1e-6)


def csd(seed=1):
    """The state dict of a small CSD: the names and shapes that OpenAI's image tower has."""
    draw_from = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(shape, generator=draw_from) * 0.1

    def norm(name):
        return {f"{name}.weight": 1 + some(WIDTH), f"{name}.bias": some(WIDTH)}

    def linear(name, width_out, width_in):
        return {f"{name}.weight": some(width_out, width_in), f"{name}.bias": some(width_out)}

    visual = {
        "class_embedding": some(WIDTH),
        "positional_embedding": some((SIDE // PATCH) ** 2 + 1, WIDTH),
        "conv1.weight": some(WIDTH, 3, PATCH, PATCH),
        **norm("ln_pre"),
        **norm("ln_post"),
    }
    for layer in range(LAYERS):
        block = f"transformer.resblocks.{layer}"
        visual |= {
            f"{block}.attn.in_proj_weight": some(3 * WIDTH, WIDTH),
            f"{block}.attn.in_proj_bias": some(3 * WIDTH),
            **linear(f"{block}.attn.out_proj", WIDTH, WIDTH),
            **norm(f"{block}.ln_1"),
            **norm(f"{block}.ln_2"),
            **linear(f"{block}.mlp.c_fc", 4 * WIDTH, WIDTH),
            **linear(f"{block}.mlp.c_proj", WIDTH, 4 * WIDTH),
        }
    heads = {"last_layer_style": some(WIDTH, SHARED), "last_layer_content": some(WIDTH, SHARED)}
    return {f"backbone.{name}": w for name, w in visual.items()} | heads


def forward(weights, pixels):
    """Unit style vectors, written out from the layout alone: pre-norm blocks with quick GELU."""
    w = {name.removeprefix("backbone."): tensor for name, tensor in weights.items()}

    def norm(x, name):
        return functional.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"])

    patches = functional.conv2d(pixels, w["conv1.weight"], stride=PATCH).flatten(2).mT
    first = w["class_embedding"].expand(len(pixels), 1, WIDTH)
    x = norm(torch.cat([first, patches], dim=1) + w["positional_embedding"], "ln_pre")
    for layer in range(LAYERS):
        block = f"transformer.resblocks.{layer}"
        attention = torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        inside = {n.split(".attn.")[1]: t for n, t in w.items() if n.startswith(f"{block}.attn.")}
        attention.load_state_dict(inside)
        normed = norm(x, f"{block}.ln_1")
        x = x + attention(normed, normed, normed, need_weights=False)[0]
        wide = functional.linear(
            norm(x, f"{block}.ln_2"), w[f"{block}.mlp.c_fc.weight"], w[f"{block}.mlp.c_fc.bias"]
        )
        x = x + functional.linear(
            wide * torch.sigmoid(1.702 * wide),
            w[f"{block}.mlp.c_proj.weight"],
            w[f"{block}.mlp.c_proj.bias"],
        )
    return functional.normalize(norm(x[:, 0], "ln_post") @ w["last_layer_style"])


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapper", [None, "model_state_dict"])
def test_a_csd_checkpoint_gives_its_style_vectors(tmp_path, prefix, wrapper):
    weights = csd()
    held = {prefix + name: w for name, w in weights.items()}
    torch.save({wrapper: held, "epoch": 3} if wrapper else held, tmp_path / "csd.pth")

    rows = encoder(tmp_path / "csd.pth").embed(PICTURES)

    with torch.no_grad():
        expected = forward(weights, as_csd_crops(PICTURES)).numpy()
    assert np.allclose(rows, expected, atol=1e-5)
    assert expected.std(axis=0).max() > 0.01  # the pictures get different vectors


@pytest.mark.parametrize("zipped", [True, False])
def test_the_layout_that_csd_s_script_saves_is_read(tmp_path, zipped, caplog):
    weights = {f"module.{name}": w for name, w in csd().items()}
    del weights["module.last_layer_content"]  # of --content_proj_head custom: a network
    weights["module.last_layer_content.projection.weight"] = torch.zeros(2, 2)
    weights["module.queue"] = torch.zeros(3)
    args = Namespace(arch="vit_large", lr=3e-3, output_dir=Path("/runs"), best=np.float64(0.6))
    states = {"opt_bb": {"state": {}, "param_groups": [{"lr": 0.003}]}, "iter": 100, "args": args}
    path = tmp_path / "checkpoint.pth"
    torch.save({"model_state_dict": weights, **states}, path, _use_new_zipfile_serialization=zipped)
    torch.save(csd(), tmp_path / "bare.pth")

    rows = encoder(path).embed(PICTURES)

    assert np.array_equal(rows, encoder(tmp_path / "bare.pth").embed(PICTURES))
    assert caplog.messages == [
        f"{path} holds one more tensor beside the weights, which is not used: queue"
    ]


def test_the_name_tells_checkpoints_apart(tmp_path):
    names = set()
    for seed in (1, 1, 2):
        torch.save(csd(seed), tmp_path / "csd.pth")
        names.add(encoder(tmp_path / "csd.pth").name)

    assert len(names) == 2


def without(name):
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    "harm, words",
    [
        (without("last_layer_style"), "is not a CSD checkpoint"),
        (without("backbone.conv1.weight"), "is not a CSD checkpoint"),
        (without("backbone.ln_post.bias"), "fits 39 of 40 tensors"),
        (without("backbone.transformer.resblocks.1.attn.in_proj_bias"), "fits 37 of 40 tensors"),
        (lambda w: w.update({"backbone.proj": torch.zeros(3)}), "1 extra, such as .*proj"),
        (lambda w: w.update({"backbone.ln_pre.bias": torch.zeros(3)}), "fits 39 of 40 tensors"),
        (
            lambda w: w.update({"backbone.conv1.weight": torch.zeros(3, 3, 2, 2)}),
            "is not a valid CLIP",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_with_the_counts(tmp_path, harm, words):
    weights = csd()
    harm(weights)
    torch.save(weights, tmp_path / "csd.pth")

    with pytest.raises(MegastyleError, match=words) as error:
        encoder(tmp_path / "csd.pth")

    assert "csd.pth" in error.value.message


class Bomb:
    def __reduce__(self):
        return exec, ("from pathlib import Path; Path('went-off').touch()",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, 2))]
)
@pytest.mark.parametrize("hold", [lambda bomb: bomb, lambda bomb: Namespace(lr=bomb)])
def test_a_pickle_with_code_is_never_executed(tmp_path, monkeypatch, write, hold):
    monkeypatch.chdir(tmp_path)
    write({"model_state_dict": csd(), "args": hold(Bomb())}, tmp_path / "csd.pth")

    with pytest.raises(MegastyleError, match="nothing in it was executed"):
        encoder("csd.pth")

    assert not (tmp_path / "went-off").exists()


def test_a_siglip_is_not_taken_for_a_clip(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')

    with pytest.raises(MegastyleError, match="holds a siglip, not a clip"):
        encoder(tmp_path)


def test_without_a_model_it_says_what_to_give():
    with pytest.raises(MegastyleError, match="needs weights"):
        load("style_encoder", "clip")


def test_a_csd_checkpoint_that_lost_its_last_layers_is_refused(tmp_path):
    weights = {
        "backbone.conv1.weight": torch.zeros(1024, 3, 14, 14),
        "backbone.positional_embedding": torch.zeros(257, 1024),
        "last_layer_style": torch.zeros(1024, 768),
        "last_layer_content": torch.zeros(1024, 768),
    }
    weights |= {
        f"backbone.transformer.resblocks.{layer}.ln_1.bias": torch.zeros(1024)
        for layer in range(22)
    }
    torch.save(weights, tmp_path / "csd.pth")

    with pytest.raises(MegastyleError, match="has 22 layers of width 1024, but .* has 24"):
        encoder(tmp_path / "csd.pth")
