"""DINOv2's image tower as a content encoder, from the folder that transformers writes."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize
from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.dinov2 import ImageSize, read_image_size
from megastyle_cli.models.registry import load
from tests.conftest import draw

SIZES = {"size": {"shortest_edge": 40}, "crop_size": {"height": 28, "width": 28}}
PICTURES = [draw(seed, 50 + 31 * seed, 60) for seed in range(3)]


def dinov2_folder(folder, seed=3):
    """A DINOv2 of random weights as the hub lays it out, with the sizes of its images."""
    torch.manual_seed(seed)
    config = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=70,  # larger than its images: positions are interpolated, as in the release
        patch_size=14,
    )
    Dinov2Model(config).save_pretrained(folder)
    mean = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    processor = {**SIZES, **mean, "image_processor_type": "BitImageProcessor", "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def opened(folder, backend="dinov2"):
    return load("style_encoder", backend, model=str(folder), device="cpu")


@pytest.mark.parametrize("backend", ["dinov2", "auto"])
def test_it_embeds_as_transformers_does(tmp_path, backend):
    folder = dinov2_folder(tmp_path)
    encoder = opened(folder, backend)

    rows, patches = encoder.embed(PICTURES), encoder.embed_patches(PICTURES)

    processor = BitImageProcessorPil.from_pretrained(folder)
    with torch.no_grad():
        inputs = processor(PICTURES, return_tensors="pt")
        tokens = Dinov2Model.from_pretrained(folder).eval()(**inputs).last_hidden_state
    assert np.allclose(rows, normalize(tokens[:, 0]).numpy(), atol=1e-5)
    assert np.allclose(patches, tokens[:, 1:].numpy(), atol=1e-5)
    assert rows.shape == (3, 16) and patches.shape == (3, 4, 16)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3


def test_it_says_what_it_does_to_an_image(tmp_path):
    assert opened(dinov2_folder(tmp_path)).preprocessing == (
        "shorter side to 40 px (bicubic), center 28 x 28, ImageNet's mean and deviation"
    )


def test_a_folder_without_a_processor_has_dinov2_s_own_sizes(tmp_path):
    assert read_image_size(tmp_path) == ImageSize(short_px=256, side_px=224)


@pytest.mark.parametrize("text", ["{}", "[]", "no", '{"size": {"shortest_edge": 1}}'])
def test_a_processor_without_sizes_is_refused(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)

    with pytest.raises(MegastyleError, match="names no size and crop_size"):
        read_image_size(tmp_path)


def test_a_lost_tensor_is_refused(tmp_path):
    folder = dinov2_folder(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))

    with pytest.raises(MegastyleError, match="fits 43 of 61 tensors"):
        opened(folder)
