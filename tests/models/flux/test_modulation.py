"""Modulation computed for all steps at once is the function that it stands for."""

import pytest
import torch

from megastyle_cli.models.flux.model import position_ids
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from tests.models.flux.test_model import COLUMNS, ROWS, TRANSFORMER, drawn, relative
from tests.tiny_flux import tiny_transformer

LEVELS = sampling_sigmas(4)


@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_painting_with_what_was_computed_before_is_painting(guided, dtype):
    target, reference, words, _ = drawn(TRANSFORMER)
    words = type(words)(states=words.states.to(dtype), pooled=words.pooled.to(dtype))
    inputs = (target.to(dtype), reference.to(dtype), words, LEVELS, position_ids(ROWS, COLUMNS, 1))
    transformer = tiny_transformer(guidance_embeds=guided).to(dtype)
    whole = denoise(transformer, *inputs, guidance=3.5)

    modulation = PrecomputedModulation(transformer)
    modulation.compute(LEVELS[:-1], words, 3.5)
    told = denoise(transformer, *inputs, guidance=3.5, modulation=modulation)

    assert relative(told, whole) <= (1e-5 if dtype == torch.float32 else 2e-2)


@torch.inference_mode()
def test_each_step_and_each_prompt_has_its_own_modulation():
    target, reference, words, _ = drawn(TRANSFORMER)
    transformer = tiny_transformer()
    modulation = PrecomputedModulation(transformer)
    modulation.compute(LEVELS[:-1], words, 3.5)
    ids = position_ids(ROWS, COLUMNS, 1)

    def painted():
        return denoise(*(transformer, target, reference, words, LEVELS, ids), modulation=modulation)

    right, rows = painted(), modulation._rows
    modulation._rows = [steps[:1].expand_as(steps) for steps in rows]
    first_step_only = painted()
    modulation._rows = [steps.flip(1) for steps in rows]
    prompts_swapped = painted()

    assert relative(first_step_only, right) > 1e-3
    assert relative(prompts_swapped, right) > 1e-3


def test_its_weights_are_no_more_in_the_transformer():
    transformer = tiny_transformer()
    before = sum(p.numel() for p in transformer.parameters())

    layers = PrecomputedModulation(transformer).layers

    taken = sum(p.numel() for layer in layers for p in layer.parameters())
    assert len(layers) == 2 * 2 + 2
    assert sum(p.numel() for p in transformer.parameters()) == before - taken
    assert taken > before / 5


def test_of_flux_1_it_is_76_layers_and_3_2_of_its_11_9_billion_weights():
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)

        layers = PrecomputedModulation(transformer).layers

    assert len(layers) == 76
    assert round(sum(p.numel() for layer in layers for p in layer.parameters()) / 1e9, 1) == 3.2
