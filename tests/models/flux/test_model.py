"""The model function is the official one: compared with its equations, written out here anew."""

import math

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from torch.nn import functional

from megastyle_cli.models.flux.model import (
    pack_latents,
    position_ids,
    reference_bias,
    unpack_latents,
    velocity,
)
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.sampling import denoise
from megastyle_cli.models.flux.schedule import (
    SIGMA_MIN,
    bell_loss_weights,
    sampling_sigmas,
    shifted_sigmas,
    timestep_input,
)
from tests.tiny_flux import TRANSFORMER, tiny_transformer

ROWS, COLUMNS, TEXT = 4, 6, 5
FULL_WIDTH = {
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}


def official(weights, sizes, target, reference, words, sigmas, guidance, rows, columns):
    """The target's velocity by the equations of the official code, in its order [ref | target].

    FLUX blocks over text, reference and target in one joint attention without mask; rotary
    positions (0, row, column), the reference's columns shifted right by the target's width.
    """
    heads, head = sizes["num_attention_heads"], sizes["attention_head_dim"]
    axes = sizes["axes_dims_rope"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def embedded(x, name):
        return linear(functional.silu(linear(x, f"{name}.linear_1")), f"{name}.linear_2")

    def waves(number):
        angles = number[:, None] * torch.exp(-math.log(10_000) * torch.arange(128) / 128)
        return torch.cat([angles.cos(), angles.sin()], dim=1)

    def centred(x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def by_heads(x, name):
        split = x.unflatten(-1, (heads, head)).transpose(1, 2)
        if name is None:
            return split
        return split / (split.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[name]

    def turned(x):
        pairs = torch.view_as_complex(x.double().unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * rotation).flatten(-2).float()

    def attended(q, k, v):
        scores = turned(q) @ turned(k).transpose(-1, -2) / head**0.5
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def modulation(name, parts):
        return linear(functional.silu(told), name)[:, None].chunk(parts, -1)

    grid = [(0, row, column) for row in range(rows) for column in range(columns)]
    shifted = [(0, row, column + columns) for _, row, column in grid]
    text_length = words.states.shape[1]
    places = torch.tensor([(0, 0, 0)] * text_length + shifted + grid, dtype=torch.float64)
    angles = [
        places[:, axis, None] * 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
        for axis, size in enumerate(axes)
    ]
    rotation = torch.exp(1j * torch.cat(angles, dim=1))

    told = (
        embedded(waves(1000 * sigmas), "time_text_embed.timestep_embedder")
        + embedded(waves(1000 * guidance), "time_text_embed.guidance_embedder")
        + embedded(words.pooled, "time_text_embed.text_embedder")
    )
    image = linear(torch.cat([reference, target], dim=1), "x_embedder")
    text = linear(words.states, "context_embedder")
    for block in range(sizes["num_layers"]):
        at = f"transformer_blocks.{block}"
        ours = modulation(f"{at}.norm1.linear", 6)
        theirs = modulation(f"{at}.norm1_context.linear", 6)
        seen = centred(image) * (1 + ours[1]) + ours[0]
        read = centred(text) * (1 + theirs[1]) + theirs[0]
        q, k, v = (
            torch.cat(
                [
                    by_heads(linear(read, f"{at}.attn.add_{part}_proj"), added),
                    by_heads(linear(seen, f"{at}.attn.to_{part}"), own),
                ],
                dim=2,
            )
            for part, added, own in (
                ("q", f"{at}.attn.norm_added_q.weight", f"{at}.attn.norm_q.weight"),
                ("k", f"{at}.attn.norm_added_k.weight", f"{at}.attn.norm_k.weight"),
                ("v", None, None),
            )
        )
        mixed = attended(q, k, v)
        image = image + ours[2] * linear(mixed[:, text_length:], f"{at}.attn.to_out.0")
        text = text + theirs[2] * linear(mixed[:, :text_length], f"{at}.attn.to_add_out")
        for stream, mod, name in (("image", ours, "ff"), ("text", theirs, "ff_context")):
            x = image if stream == "image" else text
            inner = linear(centred(x) * (1 + mod[4]) + mod[3], f"{at}.{name}.net.0.proj")
            out = linear(functional.gelu(inner, approximate="tanh"), f"{at}.{name}.net.2")
            x = x + mod[5] * out
            image, text = (x, text) if stream == "image" else (image, x)
    joint = torch.cat([text, image], dim=1)
    for block in range(sizes["num_single_layers"]):
        at = f"single_transformer_blocks.{block}"
        shift, scale, gate = modulation(f"{at}.norm.linear", 3)
        x = centred(joint) * (1 + scale) + shift
        mixed = attended(
            by_heads(linear(x, f"{at}.attn.to_q"), f"{at}.attn.norm_q.weight"),
            by_heads(linear(x, f"{at}.attn.to_k"), f"{at}.attn.norm_k.weight"),
            by_heads(linear(x, f"{at}.attn.to_v"), None),
        )
        inner = functional.gelu(linear(x, f"{at}.proj_mlp"), approximate="tanh")
        joint = joint + gate * linear(torch.cat([mixed, inner], dim=2), f"{at}.proj_out")
    scale, shift = modulation("norm_out.linear", 2)
    return linear(centred(joint[:, -target.shape[1] :]) * (1 + scale) + shift, "proj_out")


def full_width_transformer():
    """One double and one single block of FLUX.1's width; values from a repeated draw, for speed."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(**FULL_WIDTH)
    transformer.to_empty(device="cpu")
    drawn = np.random.default_rng(0).standard_normal(1_000_003).astype(np.float32)
    for name, weight in transformer.state_dict().items():
        spread = weight.shape[-1] ** -0.5 if weight.ndim == 2 else 0.1
        values = torch.from_numpy(np.resize(drawn, weight.numel())).view(weight.shape)
        weight.copy_(values).mul_(spread)
        if "norm_" in name and weight.ndim == 1:
            weight.add_(1)
    return transformer.eval()


def drawn(sizes, b=2):
    """Noisy target, clean reference, words and noise levels for b pictures."""
    rng = torch.Generator().manual_seed(3)
    n, width = ROWS * COLUMNS, sizes["in_channels"]
    target = torch.randn(b, n, width, generator=rng)
    reference = torch.randn(b, n, width, generator=rng)
    words = PromptEmbeddings(
        states=torch.randn(b, TEXT, sizes["joint_attention_dim"], generator=rng),
        pooled=torch.randn(b, sizes["pooled_projection_dim"], generator=rng),
    )
    return target, reference, words, torch.tensor([0.9, 0.3])[:b]


def relative(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


@pytest.mark.parametrize(
    ("sizes", "make", "b"),
    [(TRANSFORMER, tiny_transformer, 2), (FULL_WIDTH, full_width_transformer, 1)],
)
@torch.inference_mode()
def test_the_velocity_is_that_of_the_official_equations(sizes, make, b):
    transformer = make()
    target, reference, words, sigmas = drawn(sizes, b)

    ours = velocity(
        transformer, target, reference, words, sigmas, position_ids(ROWS, COLUMNS, 1), guidance=3.5
    )

    theirs = official(
        transformer.state_dict(),
        sizes,
        *(target, reference, words, sigmas, torch.full((b,), 3.5), ROWS, COLUMNS),
    )
    assert ours.shape == target.shape
    assert relative(ours, theirs) <= 1e-5


@torch.inference_mode()
def test_ids_of_another_convention_are_far_from_the_official_equations():
    transformer = tiny_transformer()
    inputs = drawn(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    unshifted, kontext = ids.clone(), ids.clone()
    for moved in (unshifted, kontext):
        moved[ROWS * COLUMNS :, 2] -= COLUMNS
    kontext[ROWS * COLUMNS :, 0] = 1

    right, *wrong = (
        velocity(transformer, *inputs, tried, guidance=3.5) for tried in (ids, unshifted, kontext)
    )

    assert all(relative(other, right) > 1e-4 for other in wrong)


@torch.inference_mode()
def test_the_order_of_tokens_does_not_matter():
    transformer = tiny_transformer()
    target, reference, words, sigmas = drawn(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    n = ROWS * COLUMNS
    order = torch.randperm(2 * n, generator=torch.Generator().manual_seed(0))

    shuffled = transformer(
        hidden_states=torch.cat([target, reference], dim=1)[:, order],
        encoder_hidden_states=words.states,
        pooled_projections=words.pooled,
        timestep=sigmas,
        guidance=torch.full((2,), 3.5),
        img_ids=ids[order],
        txt_ids=torch.zeros(TEXT, 3),
    ).sample[:, order.argsort()][:, :n]

    ours = velocity(transformer, target, reference, words, sigmas, ids, guidance=3.5)
    assert relative(shuffled, ours) <= 1e-5


def test_another_reference_gives_another_loss_and_a_gradient():
    transformer = tiny_transformer()
    target, reference, words, sigmas = drawn(TRANSFORMER)
    reference.requires_grad_()
    ids = position_ids(ROWS, COLUMNS, 1)

    def loss(seen):
        return velocity(transformer, target, seen, words, sigmas, ids, guidance=1.0).square().mean()

    first = loss(reference)
    (gradient,) = torch.autograd.grad(first, reference)

    assert relative(loss(reference + 1), first) > 1e-4
    assert gradient.abs().min(dim=-1).values.min() > 0  # every reference token takes part


@torch.inference_mode()
def test_a_picture_does_not_depend_on_its_batch():
    transformer = tiny_transformer()
    target, reference, words, sigmas = drawn(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)

    together = velocity(transformer, target, reference, words, sigmas, ids, guidance=3.5)

    for k in range(2):
        own = PromptEmbeddings(states=words.states[k : k + 1], pooled=words.pooled[k : k + 1])
        one = (target[k : k + 1], reference[k : k + 1], own, sigmas[k : k + 1])
        alone = velocity(transformer, *one, ids, guidance=3.5)
        assert relative(alone, together[k : k + 1]) <= 1e-5


def test_at_full_strength_nothing_is_added_to_the_scores():
    assert reference_bias([1.0], TEXT, 4) is None
    assert reference_bias([], TEXT, 4) is None


@torch.inference_mode()
def test_as_the_strength_vanishes_so_does_the_reference():
    transformer = tiny_transformer()
    target, reference, words, sigmas = drawn(TRANSFORMER)
    n = ROWS * COLUMNS

    def at(strength):
        return velocity(
            *(transformer, target, reference, words, sigmas, position_ids(ROWS, COLUMNS, 1)),
            guidance=3.5,
            bias=reference_bias([strength], TEXT, n),
        )

    without = velocity(
        *(transformer, target, reference[:, :0], words, sigmas, position_ids(ROWS, COLUMNS, 0)),
        guidance=3.5,
    )
    away = [relative(at(strength), without) for strength in (1e-12, 0.1, 0.3, 0.6, 1.0)]
    assert away[0] <= 1e-5
    assert away == sorted(away)


@torch.inference_mode()
def test_one_reference_in_two_halves_is_one_reference():
    transformer = tiny_transformer()
    target, reference, words, sigmas = drawn(TRANSFORMER)
    n = ROWS * COLUMNS
    ids = position_ids(ROWS, COLUMNS, 1)

    twice = velocity(
        *(transformer, target, reference.repeat(1, 2, 1), words, sigmas),
        torch.cat([ids, ids[n:]]),  # at the same place
        guidance=3.5,
        bias=reference_bias([0.3, 0.7], TEXT, n),
    )

    once = velocity(transformer, target, reference, words, sigmas, ids, guidance=3.5)
    assert relative(twice, once) <= 1e-5


def test_packed_tokens_are_those_of_diffusers_and_unpack_undoes_them():
    latents = torch.randn(2, 16, 8, 12)

    tokens = pack_latents(latents)

    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, 16, 8, 12))
    assert torch.equal(unpack_latents(tokens, 4, 6), latents)


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (32, 48)])  # 512 x 512, 768 x 512
def test_the_reference_lies_right_of_the_target(rows, columns):
    ids = position_ids(rows, columns, 1)

    wanted = [
        (0, row, first + column)
        for first in (0, columns)
        for row in range(rows)
        for column in range(columns)
    ]
    assert ids.tolist() == [list(map(float, place)) for place in wanted]


def test_the_painting_levels_are_the_official_ones():
    found = sampling_sigmas(30)

    golden = {0: 1.0, 1: 0.9882714, 2: 0.9759792, 15: 0.7380428, 28: 0.1043228, 29: 0.0089286}
    assert all(abs(float(found[k]) - level) < 1e-6 for k, level in golden.items())
    assert found[30] == 0


def test_the_painting_levels_are_those_of_a_scheduler_with_static_shift():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=np.linspace(1, SIGMA_MIN, 30))

    assert (scheduler.sigmas - sampling_sigmas(30)).abs().max() <= 1e-6


def test_denoising_takes_the_steps_of_the_scheduler():
    transformer = tiny_transformer()
    target, reference, words, _ = drawn(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=False)
    scheduler.set_timesteps(sigmas=np.linspace(1, SIGMA_MIN, 4))

    with torch.inference_mode():
        ours = denoise(transformer, target, reference, words, sampling_sigmas(4), ids)
        theirs = target
        for sigma, timestep in zip(scheduler.sigmas, scheduler.timesteps, strict=False):
            flow = velocity(
                transformer, theirs, reference, words, sigma.expand(2), ids, guidance=3.5
            )
            theirs = scheduler.step(flow, timestep, theirs, return_dict=False)[0]

    assert relative(ours, theirs) <= 1e-5


def test_the_bell_has_the_official_weights():
    grid = shifted_sigmas(1000)

    weights = bell_loss_weights(grid)

    # timestep -> weight, from the official trainer's formula
    golden = {1000: 0, 964: 0.20, 900: 0.54, 751: 1.26, 501: 1.79, 254: 1.27, 9: 0.05}
    for timestep, weight in golden.items():
        nearest = (grid * 1000 - timestep).abs().argmin()
        assert abs(float(weights[nearest]) - weight) < 0.006
    assert abs(float(weights.mean()) - 1) < 1e-5


def test_in_bfloat16_the_model_is_told_the_official_timesteps():
    grid, painted = shifted_sigmas(1000), sampling_sigmas(30)[:-1]

    def agreeing(sigmas, told):
        return int((told * 1000 == (sigmas * 1000).bfloat16()).sum())

    assert agreeing(grid, timestep_input(grid, torch.bfloat16)) == 997
    assert agreeing(painted, timestep_input(painted, torch.bfloat16)) == 30
    assert agreeing(grid, grid.bfloat16()) == 759  # what diffusers alone does


def test_in_float32_the_levels_are_told_as_they_are():
    assert torch.equal(timestep_input(shifted_sigmas(1000), torch.float32), shifted_sigmas(1000))
