"""Denoising is Euler integration, as diffusers' scheduler does it."""

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from megastyle_cli.models.flux.model import position_ids, velocity
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.models.flux.schedule import SIGMA_MIN, sampling_sigmas
from tests.models.flux.reference_model import COLUMNS, ROWS, random_inputs, relative_difference
from tests.tiny_flux import TRANSFORMER, tiny_transformer


def test_denoising_takes_the_steps_of_the_scheduler():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, _ = random_inputs(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=np.linspace(1, SIGMA_MIN, 4))

    with torch.inference_mode():
        ours = denoise(transformer, target, reference, prompt_embeds, sampling_sigmas(4), ids)
        theirs = target
        for sigma, timestep in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
            flow = velocity(
                transformer, theirs, reference, prompt_embeds, sigma.expand(2), ids, guidance=3.5
            )
            theirs = scheduler.step(flow, timestep, theirs, return_dict=False)[0]

    assert relative_difference(ours, theirs) <= 1e-5


@torch.inference_mode()
def test_a_single_step_to_zero_is_one_velocity():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, _ = random_inputs(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)

    denoised = denoise(
        *(transformer, target, reference, prompt_embeds, sampling_sigmas(1), ids), guidance=2.0
    )

    flow = velocity(
        *(transformer, target, reference, prompt_embeds, torch.ones(2), ids), guidance=2.0
    )
    assert torch.allclose(denoised, target - flow, atol=1e-6)
