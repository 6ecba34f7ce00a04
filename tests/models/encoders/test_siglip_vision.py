"""The SigLIP tower: read to the last tensor or refused, and written in both layouts."""

import json
import pickle
from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch
from transformers import SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel
from transformers import SiglipImageProcessorPil as Processor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.dual_encoder import siglip_encoder
from megastyle_cli.models.encoders.siglip_vision import (
    StyleTower,
    count_tensors,
    load_tower,
    new_tower,
    normalize_pixels,
    released_config,
    resize_to_square,
    save_folder,
    save_official,
    unwrap,
)
from megastyle_cli.models.encoders.style_encoder import SiglipEncoder
from megastyle_cli.models.tensor_files import write_torch
from tests.conftest import draw
from tests.models.encoders.bicubic import squash

RELEASED = {  # google/siglip-so400m-patch14-384
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
HALVES = {"resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture
def tower():
    return new_tower(SiglipVisionConfig(**SIZE), seed=1)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(SIZE))
    return path


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_same_seed_draws_the_same_tower_and_leaves_the_global_generator_alone(config):
    before = torch.get_rng_state()

    one, other, third = (load_tower(str(config), seed) for seed in (5, 5, 6))

    assert same(one, other) and not same(one, third)
    assert torch.equal(before, torch.get_rng_state())


def test_the_released_size_has_448_tensors():
    with torch.device("meta"):
        so400m = SiglipVisionModel(SiglipVisionConfig(**RELEASED))

    assert count_tensors(so400m) == 448
    assert sum(w.numel() for w in so400m.parameters()) == 428_225_600


def test_a_saved_folder_is_what_from_pretrained_and_we_read(tower, tmp_path):
    save_folder(tower, tmp_path)

    theirs, report = SiglipVisionModel.from_pretrained(tmp_path, output_loading_info=True)

    assert same(theirs, tower) and same(load_tower(str(tmp_path)), tower)
    assert not any(report.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_official_layout_goes_out_and_in(tower, config, tmp_path, dtype):
    save_official(tower, tmp_path / "encoder.pth", dtype)

    content = torch.load(tmp_path / "encoder.pth", weights_only=True)
    config.unlink()
    back = load_tower(str(tmp_path / "encoder.pth"))

    weights = content["model"]  # of a size that was not released, so beside `config`
    assert all(name.startswith("vision_model.") and w.dtype == dtype for name, w in weights.items())
    expected = {name: w.to(dtype).float() for name, w in tower.state_dict().items()}
    assert all(torch.equal(w, expected[name]) for name, w in back.state_dict().items())


def test_a_full_disk_is_an_error_of_the_disk():
    with pytest.raises(OSError, match="No space left"):
        write_torch({"weight": torch.zeros(100_000)}, Path("/dev/full"))


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
@pytest.mark.parametrize(
    "prefix",
    [
        *(
            "",
            "module.",
            "vision_model.",
            "module.vision_model.",
            "_orig_mod.",
            "module._orig_mod.",
        ),
        *("_orig_mod.module.vision_model.", "vision_model._orig_mod."),
    ],
)
def test_every_layout_of_a_checkpoint_is_read(tower, config, tmp_path, wrapper, prefix):
    content = {prefix + name: w for name, w in tower.state_dict().items()}
    torch.save({wrapper: content, "epoch": 3} if wrapper else content, tmp_path / "encoder.pth")

    assert same(load_tower(str(tmp_path / "encoder.pth")), tower)


def drop_one(weights):
    del weights["head.probe"]


def add_one(weights):
    weights["encoder.layers.2.layer_norm1.bias"] = torch.zeros(3)


def change_shape(weights):
    weights["head.probe"] = torch.zeros(1, 1, 31)


def replace_by_number(weights):
    weights["head.probe"] = 3


@pytest.mark.parametrize(
    "damage, counts",
    [
        (drop_one, "47 of 48"),
        (add_one, "48 of 48 tensors (0 missing or of another shape; 1 extra, such as enc"),
        (change_shape, "47 of 48"),
        (replace_by_number, "47 of 48"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_counts(tower, config, tmp_path, damage, counts):
    weights = dict(tower.state_dict())
    damage(weights)
    torch.save(weights, tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError) as error:
        load_tower(str(tmp_path / "encoder.pth"))

    assert counts in error.value.message and "encoder.pth" in error.value.message


def test_a_checkpoint_of_another_size_is_refused(config, tmp_path):
    other = new_tower(SiglipVisionConfig(**{**SIZE, "hidden_size": 16}), seed=1)
    torch.save(other.state_dict(), tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError, match="fits 3 of 48"):  # the three MLP biases of width 48
        load_tower(str(tmp_path / "encoder.pth"))


def test_tensors_beside_the_tower_s_are_counted_and_not_used(tower, config, tmp_path, caplog):
    others = ["text_model.x", "logit_scale", "classifier.weight", "projection.bias"]
    weights = {f"vision_model.{name}": w for name, w in tower.state_dict().items()}
    weights |= dict.fromkeys(others, torch.zeros(2))
    weights["vision_model.embeddings.position_ids"] = torch.arange(16)[None]
    torch.save({"model": weights, "epoch": 30}, tmp_path / "encoder.pth")

    assert same(load_tower(str(tmp_path / "encoder.pth")), tower)
    assert caplog.messages == [
        f"{tmp_path / 'encoder.pth'} holds 4 more tensors beside the weights, which are not used:"
        " text_model.x, logit_scale, classifier.weight, ..."
    ]


def test_the_released_encoder_is_given_384_pixels_wherever_it_lies(tmp_path):
    with torch.device("meta"):
        so400m = SiglipVisionModel(SiglipVisionConfig(**RELEASED))
    shapes = {f"vision_model.{name}": w.shape for name, w in so400m.state_dict().items()}
    zeros = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}

    config = released_config(unwrap(zeros, "x"), tmp_path / "megastyle_encoder.pth")

    assert {name: getattr(config, name) for name in RELEASED} == RELEASED


@pytest.mark.parametrize("side_px", [40, 45])
def test_an_exported_file_is_one_encoder_wherever_it_lies(tmp_path, side_px):
    size = {**SIZE, "hidden_size": 768, "num_attention_heads": 4, "image_size": side_px}
    tower = new_tower(SiglipVisionConfig(**size), seed=2)
    (tmp_path / "alone").mkdir()
    save_folder(tower, tmp_path)
    save_official(tower, tmp_path / "encoder.pth", torch.float16)
    copied = copy(tmp_path / "encoder.pth", tmp_path / "alone")

    one, other = (SiglipEncoder(str(path)) for path in (tmp_path / "encoder.pth", copied))

    assert one.side_px == other.side_px == side_px
    assert np.array_equal(one.embed([draw(3)]), other.embed([draw(3)]))


def test_a_size_that_was_not_released_needs_its_config(tower, tmp_path):
    torch.save(tower.state_dict(), tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError, match="width 32, not one of the released") as error:
        load_tower(str(tmp_path / "encoder.pth"))

    assert "config.json" in error.value.hint


def released_base(num_layers):
    """Zeros with the names and shapes of the released width 768; they need no disk space."""
    size = {"hidden_size": 768, "intermediate_size": 64, "num_attention_heads": 12}
    with torch.device("meta"):
        config = SiglipVisionConfig(**{**SIZE, **size, "num_hidden_layers": num_layers})
        shapes = {name: w.shape for name, w in SiglipVisionModel(config).state_dict().items()}
    return {f"vision_model.{name}": torch.zeros(()).expand(s) for name, s in shapes.items()}


def test_a_released_size_is_known_by_its_shapes(tmp_path):
    torch.save(released_base(12), tmp_path / "encoder.pth")

    config = load_tower(str(tmp_path / "encoder.pth")).config

    assert (config.num_attention_heads, config.num_hidden_layers) == (12, 12)
    assert (config.intermediate_size, config.image_size, config.patch_size) == (64, 32, 8)


@pytest.mark.parametrize("num_layers", [1, 11, 13])
def test_a_released_width_with_another_number_of_layers_is_refused(tmp_path, num_layers):
    torch.save(released_base(num_layers), tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError) as error:
        load_tower(str(tmp_path / "encoder.pth"))

    assert f"encoder.pth has {num_layers} layers of width 768" in error.value.message
    assert "has 12" in error.value.message and "config.json" in error.value.hint


def test_a_config_beside_the_file_decides_the_depth(tmp_path):
    values = {**SIZE, "hidden_size": 768, "intermediate_size": 64, "num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps({**values, "num_attention_heads": 12}))
    torch.save(released_base(1), tmp_path / "encoder.pth")

    assert load_tower(str(tmp_path / "encoder.pth")).config.num_hidden_layers == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tower, config, tmp_path, value):
    weights = dict(tower.state_dict())
    weights["head.probe"] = torch.full_like(weights["head.probe"], value)
    torch.save(weights, tmp_path / "encoder.pth")

    with pytest.raises(
        MegastyleError, match=r"encoder.pth holds NaN or infinite .* in head\.probe"
    ):
        load_tower(str(tmp_path / "encoder.pth"))


@pytest.mark.parametrize("name", ["encoder.pth", "model.safetensors"])
def test_a_git_lfs_pointer_is_called_one(config, tmp_path, name):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"
    (tmp_path / name).write_text(text)

    for model in (tmp_path / name, tmp_path):
        with pytest.raises(MegastyleError, match=f"{name} is a Git LFS pointer") as error:
            load_tower(str(model))
        assert "git lfs pull" in error.value.hint


def test_a_tensor_under_two_names_is_refused(tower, config, tmp_path):
    content = {f"vision_model.{name}": w for name, w in tower.state_dict().items()}
    torch.save({**content, "head.probe": torch.ones(1, 1, 32)}, tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError, match="encoder.pth holds 1 of 48 tensors twice.*head.probe"):
        load_tower(str(tmp_path / "encoder.pth"))


class Bomb:
    def __reduce__(self):
        return exec, ("from pathlib import Path; Path('went-off').touch()",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, 2))]
)
def test_a_pickle_with_code_is_never_executed(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    write({"head.probe": Bomb()}, tmp_path / "encoder.pth")

    with pytest.raises(MegastyleError, match="nothing in it was executed"):
        load_tower("encoder.pth")

    assert not (tmp_path / "went-off").exists()


@pytest.mark.parametrize("name", ["encoder.pth", "encoder.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"not weights", b"junk\n", b"\x80", b"PK\x03\x04 cut off"]
)
def test_a_damaged_file_is_one_sentence(config, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(MegastyleError, match="damaged"):
        load_tower(str(tmp_path / name))


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.98])
def test_a_file_that_is_cut_off_is_one_sentence(tower, config, tmp_path, share):
    path = tmp_path / "encoder.pth"
    save_official(tower, path, torch.float32)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(MegastyleError, match="encoder.pth is damaged") as error:
        load_tower(str(path))

    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    "text, word",
    [
        ('{"hidden_size": 33}', "is not a valid SiglipVisionModel config"),
        ('{"model_type": "clip"}', "holds a clip, not a siglip_vision_model"),
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"vision_use_head": false}', "tower without a pooling head"),
        ('{"vision_config": {"vision_use_head": null}}', "tower without a pooling head"),
        ('{"quantization_config": {"load_in_8bit": true}}', "belongs to a quantized model"),
        ('{"vision_config": [1]}', r"has vision_config \[1\]"),
        ('{"num_hidden_layers": 1000000000}', "num_hidden_layers 1000000000"),
        ('{"num_hidden_layers": "2"}', "num_hidden_layers '2'"),
        ('{"num_channels": 4}', "num_channels 4"),
        ('{"model_type": ["siglip"]}', r"holds a \['siglip'\]"),
        ('{"hidden_size": "wide"}', "hidden_size 'wide'"),
        ('{"image_size": 0}', "image_size 0, not 1 to"),
        ('{"hidden_act": 3}', "is not a valid SiglipVisionModel config"),
    ],
)
def test_a_config_that_makes_no_tower_is_one_sentence(tmp_path, text, word):
    (tmp_path / "size.json").write_text(text)

    with pytest.raises(MegastyleError, match=word):
        load_tower(str(tmp_path / "size.json"))


@pytest.mark.parametrize(
    "name", ["missing", "missing/", "./a/b", "/a/b", "a/b/c", "a/b.pth", "../a"]
)
def test_an_invalid_name_reaches_no_network(name):
    with pytest.raises(MegastyleError, match="there is no model"):
        load_tower(name)


def test_the_released_encoder_is_one_file_of_its_repository(tower, tmp_path, monkeypatch):
    repository = tmp_path / "models--Gaojunyao--MegaStyle"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "megastyle_flux.safetensors").write_text("the LoRA, which is not read")
    save_official(tower, snapshot / "megastyle_encoder.pth", torch.float32)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert same(load_tower("Gaojunyao/MegaStyle"), tower)
    assert siglip_encoder("Gaojunyao/MegaStyle", "cpu").name.startswith("Gaojunyao/MegaStyle@")


def test_a_whole_siglip_gives_its_image_tower(tmp_path):
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 20}
    whole = SiglipModel(
        SiglipConfig(text_config={**text, "num_attention_heads": 2}, vision_config=SIZE)
    )
    whole.save_pretrained(tmp_path)

    assert same(load_tower(str(tmp_path)), whole.vision_model)


def test_rows_are_unit_float32_whatever_the_precision_of_the_tower(tower):
    pictures = torch.rand(3, 3, 32, 32) * 2 - 1

    exact, halved = (
        StyleTower(tower, dtype)(pictures) for dtype in (torch.float32, torch.bfloat16)
    )

    assert exact.dtype == halved.dtype == torch.float32
    assert torch.allclose(exact.norm(dim=1), torch.ones(3))
    assert torch.allclose(exact, halved, atol=0.02) and not torch.equal(exact, halved)


@pytest.mark.parametrize("size", [(500, 333), (384, 384), (1000, 384), (9, 7), (1, 3)])
def test_the_processing_is_the_released_encoder_s_to_the_last_bit_of_a_pixel(size):
    picture = draw(3, 90, 90).resize(size)
    ours = normalize_pixels(resize_to_square(picture, 384)).numpy()

    theirs = Processor(size={"height": 384, "width": 384}, **HALVES)(picture)["pixel_values"][0]

    assert np.abs(ours - squash(np.asarray(picture), 384)).max() < 2e-7
    assert np.abs(ours - theirs).max() < 2e-7


def test_the_processing_is_that_of_transformers(tower, tmp_path):
    save_folder(tower, tmp_path)
    picture = draw(3, 70, 45)

    theirs = Processor.from_pretrained(tmp_path)(picture, return_tensors="pt")["pixel_values"][0]

    assert torch.allclose(normalize_pixels(resize_to_square(picture, 32)), theirs, atol=1e-6)
