"""Style encoders by a SigLIP or CLIP: rows as transformers computes them, names by the weights."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import CLIPImageProcessorPil as ClipProcessor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers import SiglipImageProcessorPil as Processor

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import new_tower, save_folder
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.cuda_autocast import gpu_autocast
from tests.models.encoders.bicubic import crop_center, floor_half, squash
from tests.models.encoders.test_clip_vision import PICTURES, SHARED, encoder, processed
from tests.models.encoders.test_clip_vision import SIZE as CLIP_SIZE
from tests.models.encoders.test_siglip_vision import HALVES, RELEASED, SIZE


@pytest.fixture
def tower():
    return new_tower(SiglipVisionConfig(**SIZE), seed=1)


def test_the_backend_embeds_as_from_pretrained_does(tower, tmp_path):
    save_folder(tower, tmp_path)
    pictures = [draw(seed, 50 + seed, 40) for seed in range(5)]
    encoder = load("style_encoder", "siglip", model=str(tmp_path), device="cpu")

    rows = encoder.embed(pictures)

    reference = SiglipVisionModel.from_pretrained(tmp_path)
    inputs = Processor.from_pretrained(tmp_path)(pictures, return_tensors="pt")
    with torch.no_grad():
        pooled = reference(**inputs).pooler_output
    expected = torch.nn.functional.normalize(pooled).numpy()
    assert rows.dtype == np.float32 and np.allclose(rows, expected, atol=1e-6)
    assert np.array_equal(rows[2:3], encoder.embed(pictures[2:3]))
    assert encoder.embed([]).shape == (0, 32)


def test_at_full_width_the_pixels_and_vectors_are_those_of_the_official_script(tmp_path):
    config = SiglipVisionConfig(**{**RELEASED, "num_hidden_layers": 1})
    with torch.random.fork_rng():
        torch.manual_seed(3)
        SiglipVisionModel(config).save_pretrained(tmp_path)
    Processor(size={"height": 384, "width": 384}, **HALVES).save_pretrained(tmp_path)
    picture = draw(7, 500, 333)

    (row,) = load("style_encoder", "siglip", model=str(tmp_path), device="cpu").embed([picture])

    # the steps of style_score.py: processor, tower, pooled output over its norm
    theirs = SiglipVisionModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        pooled = theirs(**Processor.from_pretrained(tmp_path)([picture], return_tensors="pt"))[1]
        restated = theirs(pixel_values=torch.tensor(squash(np.asarray(picture), 384))[None])[1]
    assert pooled.shape == (1, 1152)
    for vector in (pooled, restated):
        assert np.abs(row - (vector / vector.norm(dim=-1, keepdim=True)).numpy()).max() < 1e-6


@pytest.mark.parametrize("kind", ["siglip", "clip"])
def test_rows_in_bfloat16_agree_with_those_in_float32(tower, tmp_path, kind):
    if kind == "siglip":
        save_folder(tower, tmp_path)
    else:
        torch.manual_seed(1)
        sizes = CLIPVisionConfig(**CLIP_SIZE, projection_dim=SHARED)
        CLIPVisionModelWithProjection(sizes).save_pretrained(tmp_path)
    pictures = [draw(seed, 50 + seed, 40) for seed in range(8)]

    def rows_in(dtype):
        options = {"model": str(tmp_path), "device": "cpu", "dtype": dtype}
        return load("style_encoder", kind, **options).embed(pictures)

    exact = rows_in("float32")
    with gpu_autocast():
        rows = rows_in("bfloat16")

    cosines = (exact * rows).sum(axis=1)
    assert rows.dtype == np.float32 and not np.array_equal(rows, exact)
    assert cosines.min() > 0.9995
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_the_name_depends_on_the_weights(tower, tmp_path):
    names = set()
    for seed in (1, 1, 2):
        save_folder(new_tower(tower.config, seed), tmp_path)
        names.add(load("style_encoder", "siglip", model=str(tmp_path), device="cpu").name)

    assert len(names) == 2


def test_the_backend_without_a_model_says_what_to_give():
    with pytest.raises(MegastyleError, match="needs weights"):
        load("style_encoder", "siglip")


def test_a_tower_with_its_projection_embeds_as_transformers_does(tmp_path):
    torch.manual_seed(1)
    CLIPVisionModelWithProjection(
        CLIPVisionConfig(**CLIP_SIZE, projection_dim=SHARED)
    ).save_pretrained(tmp_path)

    rows = encoder(tmp_path).embed(PICTURES)

    reference = CLIPVisionModelWithProjection.from_pretrained(tmp_path)
    with torch.no_grad():
        expected = reference(pixel_values=processed(PICTURES)).image_embeds
    assert np.allclose(rows, functional.normalize(expected).numpy(), atol=1e-6)
    assert rows.dtype == np.float32 and rows.shape == (4, SHARED)
    assert np.array_equal(rows[1:2], encoder(tmp_path).embed(PICTURES[1:2]))


def test_at_full_width_a_clip_l_gives_the_vectors_of_transformers_processor(tmp_path):
    size = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    config = CLIPVisionConfig(
        **size, num_hidden_layers=2, image_size=224, patch_size=14, projection_dim=768
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        clip = CLIPVisionModelWithProjection(config)
    clip.save_pretrained(tmp_path)
    picture = draw(7, 500, 227)  # 493 of 224: margins of 269, half of which is no whole pixel

    (row,) = encoder(tmp_path).embed([picture])

    side = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
    theirs = torch.tensor(np.stack(ClipProcessor(**side)(picture)["pixel_values"]))
    restated = torch.tensor(crop_center(np.asarray(picture), 224, floor_half))[None]
    for pixels in (theirs, restated):
        with torch.no_grad():
            vector = functional.normalize(clip.eval()(pixel_values=pixels).image_embeds)
        assert np.abs(row - vector.numpy()).max() < 1e-6
