"""Painters of real pipeline classes at tiny size: an image depends on its request alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from transformers import AutoTokenizer

from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.models.image_only_processor import ImageOnlyQwen3VLProcessor
from megastyle_cli.models.text_to_image.diffusion_painter import build_prompt
from tests.models.text_to_image.painting import (
    PIPELINES,
    REQUEST,
    REQUESTS,
    load_painter,
    paint,
    pixels,
)

# SDXL's scheduler triggers a deprecation of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


MISSING_PARTS = {
    "sd3": {"text_encoder_3": None, "tokenizer_3": None},
    "flux2": {"tokenizer": None},  # a processor cannot be made without torchvision
}


@pytest.mark.parametrize("name", PIPELINES)
def test_an_image_depends_on_its_request_alone_bit_for_bit(painters, name):
    alone = paint(painters[name], REQUEST)
    together = paint(painters[name], *REQUESTS)

    assert np.array_equal(alone[0], together[1])
    assert together[3].shape == (64, 64, 3)


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("other", [{"content": "a cow"}, {"style": "In oil."}, {"seed": 8}])
def test_content_style_and_seed_change_the_image(painters, name, other):
    first, second = paint(painters[name], REQUEST, replace(REQUEST, **other))

    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", PIPELINES)
def test_the_image_is_that_of_the_bare_pipeline(pipeline_folders, painters, name):
    folder, given = pipeline_folders[name], dict(MISSING_PARTS.get(name, {}))
    if name == "qwen21":  # without its part for videos, which needs torchvision
        given["processor"] = ImageOnlyQwen3VLProcessor.from_pretrained(folder / "processor")
    stock = DiffusionPipeline.from_pretrained(folder, **given)
    if name == "flux2":
        stock.tokenizer = AutoTokenizer.from_pretrained(pipeline_folders[name] / "tokenizer")
    stock.set_progress_bar_config(disable=True)
    options = {"negative_prompt": " ", "true_cfg_scale": 4.0} if name == "qwen" else {}

    side_px = 64 if name == "qwen21" else 48  # a multiple of 32
    theirs = stock(
        prompt="a fox. In the style of woodcut.",
        **options,
        width=side_px,
        height=side_px,
        num_inference_steps=3,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    if theirs.mode == "RGBA":
        theirs = Image.alpha_composite(Image.new("RGBA", theirs.size, "white"), theirs)
        theirs = theirs.convert("RGB")

    (ours,) = paint(painters[name], REQUEST)
    assert abs(ours - pixels(theirs)).max() <= 1


def test_a_prompt_is_the_content_then_the_style():
    assert build_prompt(REQUEST) == "a fox. In the style of woodcut."


@pytest.mark.parametrize(
    ("missing", "named"),
    [({"content": None}, "no content"), ({"style": None}, "no style"), ({"style": ""}, "no style")],
)
def test_a_request_without_content_or_style_fails_alone(painters, missing, named):
    bad, good = painters["qwen"].paint([replace(REQUEST, **missing), REQUEST])

    assert isinstance(bad, BadRecord) and bad.kind == "missing_key" and named in bad.message
    assert pixels(good).shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("size", "expected"), [((48, 32), (48, 32)), ((40, 33), (48, 48)), (None, (48, 48))]
)
def test_sizes_are_rounded_up_to_multiples_of_16(painters, size, expected):
    (image,) = painters["qwen"].paint([replace(REQUEST, size_px=size)])

    assert image.size == expected


def test_nan_pixels_are_a_failed_record_and_no_black_image(pipeline_folders):
    painter = load_painter(pipeline_folders["qwen"])
    with torch.no_grad():
        painter.model.pipeline.vae.decoder.conv_out.bias.fill_(torch.nan)

    (bad,) = painter.paint([REQUEST])

    assert isinstance(bad, BadRecord) and bad.kind == "model_error" and "NaN" in bad.message


def test_images_come_in_order_after_the_batch_that_makes_the_next_of_them(pipeline_folders):
    painter = load_painter(pipeline_folders["qwen"], batch_size=2)
    painter._batch_size = lambda size: 2  # as on a GPU
    sizes = [(32, 32), (64, 32), (32, 32), (64, 32), (32, 32)]
    requests = [replace(REQUEST, seed=row, size_px=size) for row, size in enumerate(sizes)]

    lists = list(painter.paint_batches([*requests, replace(REQUEST, content="")]))

    assert [len(images) for images in lists] == [1, 3, 2]
    images = [image for images in lists for image in images]
    assert [image.size for image in images[:-1]] == sizes
    assert isinstance(images[-1], BadRecord)


def test_a_batch_that_does_not_fit_is_halved_with_a_warning_and_a_single_image_fails(
    pipeline_folders, caplog
):
    painter = load_painter(pipeline_folders["qwen"], batch_size=4)
    painter._batch_size = lambda size: max(1, 4 >> painter._halvings)  # as on a GPU
    max_batch = 1

    def check_batch(module, args, kwargs):
        if kwargs["hidden_states"].shape[0] > max_batch:
            raise torch.OutOfMemoryError("out of memory")

    painter.model.pipeline.transformer.register_forward_pre_hook(check_batch, with_kwargs=True)
    requests = [replace(REQUEST, seed=seed) for seed in range(4)]

    images = paint(painter, *requests)
    assert [record.args[-1] for record in caplog.records] == [2, 1]
    assert np.array_equal(images[2], paint(load_painter(pipeline_folders["qwen"]), requests[2])[0])

    max_batch = 0
    (bad,) = painter.paint([REQUEST])
    assert isinstance(bad, BadRecord) and bad.kind == "out_of_memory"


def test_nf4_on_a_cpu_raises(pipeline_folders):
    with pytest.raises(MegastyleError, match="nf4 needs a GPU"):
        load_painter(pipeline_folders["qwen"], quantize="nf4")


def test_a_missing_model_says_what_to_download():
    with pytest.raises(MegastyleError, match="there is no model folder ./nothing") as error:
        load_painter("./nothing")
    assert "hf download Qwen/Qwen-Image --local-dir Qwen-Image" in error.value.hint


def test_offload_on_a_cpu_raises(pipeline_folders):
    with pytest.raises(MegastyleError, match="needs a GPU"):
        load_painter(pipeline_folders["qwen"], offload="model")


def test_a_full_memory_on_a_cpu_is_a_failed_record(pipeline_folders):
    painter = load_painter(pipeline_folders["qwen"])
    painter.model.pipeline.transformer.register_forward_pre_hook(
        lambda *_: torch.empty(1 << 50) and None
    )

    (bad,) = painter.paint([REQUEST])

    assert isinstance(bad, BadRecord) and bad.kind == "out_of_memory"
