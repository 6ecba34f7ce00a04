"""Precomputed modulation gives the same function, without its weights in the transformer."""

import pytest
import torch

from megastyle_cli.models.flux.model import position_ids
from megastyle_cli.models.flux.modulation import PrecomputedModulation
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.models.flux.schedule import sampling_sigmas
from tests.models.flux.reference_model import COLUMNS, ROWS, random_inputs, relative_difference
from tests.tiny_flux import TRANSFORMER, tiny_transformer

SIGMAS = sampling_sigmas(4)


@pytest.mark.parametrize("has_guidance", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_denoising_with_precomputed_modulation_is_the_same(has_guidance, dtype):
    target, reference, prompt_embeds, _ = random_inputs(TRANSFORMER)
    prompt_embeds = type(prompt_embeds)(
        states=prompt_embeds.states.to(dtype), pooled=prompt_embeds.pooled.to(dtype)
    )
    inputs = (
        target.to(dtype),
        reference.to(dtype),
        prompt_embeds,
        SIGMAS,
        position_ids(ROWS, COLUMNS, 1),
    )
    transformer = tiny_transformer(guidance_embeds=has_guidance).to(dtype)
    whole = denoise(transformer, *inputs, guidance=3.5)

    modulation = PrecomputedModulation(transformer)
    modulation.compute(SIGMAS[:-1], prompt_embeds, 3.5)
    precomputed = denoise(transformer, *inputs, guidance=3.5, modulation=modulation)

    assert relative_difference(precomputed, whole) <= (1e-5 if dtype == torch.float32 else 2e-2)


@torch.inference_mode()
def test_each_step_and_each_prompt_has_its_own_modulation():
    target, reference, prompt_embeds, _ = random_inputs(TRANSFORMER)
    transformer = tiny_transformer()
    modulation = PrecomputedModulation(transformer)
    modulation.compute(SIGMAS[:-1], prompt_embeds, 3.5)
    ids = position_ids(ROWS, COLUMNS, 1)

    def denoised():
        return denoise(
            *(transformer, target, reference, prompt_embeds, SIGMAS, ids), modulation=modulation
        )

    right, rows = denoised(), modulation._rows
    modulation._rows = [steps[:1].expand_as(steps) for steps in rows]
    first_step_only = denoised()
    modulation._rows = [steps.flip(1) for steps in rows]
    prompts_swapped = denoised()

    assert relative_difference(first_step_only, right) > 1e-3
    assert relative_difference(prompts_swapped, right) > 1e-3


def test_the_weights_are_no_longer_in_the_transformer():
    transformer = tiny_transformer()
    before = sum(p.numel() for p in transformer.parameters())

    layers = PrecomputedModulation(transformer).layers

    removed = sum(p.numel() for layer in layers for p in layer.parameters())
    assert len(layers) == 2 * 2 + 2
    assert sum(p.numel() for p in transformer.parameters()) == before - removed
    assert removed > before / 5


def test_flux_1_has_76_modulation_layers_with_3_2_of_its_11_9_billion_weights():
    from diffusers import FluxTransformer2DModel

    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)

        layers = PrecomputedModulation(transformer).layers

    assert len(layers) == 76
    assert round(sum(p.numel() for layer in layers for p in layer.parameters()) / 1e9, 1) == 3.2
