"""Pipelines with guidance: prompts alone, two passes with a negative prompt, models offloaded."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from megastyle_cli.models.text_to_image.diffusion_painter import build_prompt, to_image
from megastyle_cli.models.text_to_image.pipeline_loader import denoiser_of
from tests.models.text_to_image.painting import (
    PIPELINES,
    REQUEST,
    REQUESTS,
    load_painter,
    paint,
    pixels,
    record_calls,
)

# SDXL's scheduler triggers a deprecation of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSIFIER_FREE = ("qwen", "klein", "sd3", "sdxl")
ANIMALS = [(1, "fox"), (2, "cat"), (3, "dog"), (4, "owl")]


@pytest.mark.parametrize("name", PIPELINES)
def test_every_prompt_is_encoded_alone_before_anything_is_denoised(painters, name):
    painter = painters[name]
    order = []
    hooks = [
        part.register_forward_pre_hook(lambda *_, phase=phase: order.append(phase))
        for phase, part in (
            ("encode", painter.model.pipeline.text_encoder),
            ("denoise", denoiser_of(painter.model.pipeline)),
        )
    ]

    painter.paint(REQUESTS)
    for hook in hooks:
        hook.remove()

    assert order.count("encode") >= len(REQUESTS)
    assert order == sorted(order, key=["encode", "denoise"].index)


@pytest.mark.parametrize("name", PIPELINES)
def test_offloaded_text_encoders_are_removed_while_the_pipeline_denoises(
    pipeline_folders, painters, name
):
    painter = load_painter(pipeline_folders[name])
    painter.model.offload = "model"  # here both devices are the CPU
    encoders = []
    denoiser_of(painter.model.pipeline).register_forward_pre_hook(
        lambda *_: encoders.append(painter.model.pipeline.text_encoder)
    )

    (offloaded,) = paint(painter, REQUEST)

    assert set(encoders) == {None} and painter.model.pipeline.text_encoder is not None
    assert np.array_equal(offloaded, paint(painters[name], REQUEST)[0])


@pytest.mark.parametrize("name", CLASSIFIER_FREE)
def test_classifier_free_guidance_takes_a_second_pass(pipeline_folders, unguided, name):
    guided, bare = load_painter(pipeline_folders[name], guidance=4.0), unguided(name)
    passes = [record_calls(denoiser_of(painter.model.pipeline)) for painter in (guided, bare)]
    shapes = []
    denoiser_of(guided.model.pipeline).register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append((*args, *kwargs.values())[0].shape[0]),
        with_kwargs=True,
    )

    paint(guided, REQUEST)
    paint(bare, REQUEST)

    # the passes come one after the other, or both as one batch
    assert sum(shapes) == 6 and len(passes[1]) == 3


@pytest.mark.parametrize("name", PIPELINES)
def test_images_of_one_batch_agree_with_each_alone_up_to_rounding(painters, name):
    painter = painters[name]
    requests = [replace(REQUEST, content=f"a {animal}", seed=seed) for seed, animal in ANIMALS]

    alone = paint(painter, *requests)
    with torch.inference_mode():
        prompts = painter.model.encode([build_prompt(request) for request in requests])
        seeds = [request.seed for request in requests]
        size = (64, 64) if name == "qwen21" else (48, 48)
        together = painter.model.generate([*prompts.values()], seeds, size)

    for one, other in zip(alone, together, strict=True):
        assert abs(one - pixels(to_image(other))).max() <= 1


@pytest.mark.parametrize("name", PIPELINES)
def test_guidance_changes_the_image(pipeline_folders, painters, unguided, name):
    (own,) = paint(painters[name], REQUEST)
    other = unguided(name) if name in CLASSIFIER_FREE else None
    (changed,) = paint(other or load_painter(pipeline_folders[name], guidance=9.0), REQUEST)

    assert not np.array_equal(own, changed)


def test_a_negative_prompt_changes_the_image(pipeline_folders, painters):
    (own,) = paint(painters["qwen"], REQUEST)
    (away,) = paint(load_painter(pipeline_folders["qwen"], negative="a hill"), REQUEST)

    assert not np.array_equal(own, away)


def test_a_pipeline_without_known_arguments_is_given_text(pipeline_folders):
    painter = load_painter(pipeline_folders["qwen"])
    painter.model.spec = replace(painter.model.spec, encoded=())

    (image,) = paint(painter, REQUEST)

    (expected,) = paint(load_painter(pipeline_folders["qwen"]), REQUEST)
    assert np.array_equal(image, expected)
