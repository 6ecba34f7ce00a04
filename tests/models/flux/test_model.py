"""The model function equals the official one, whose equations `reference_model` writes out."""

import pytest
import torch
from diffusers import FluxPipeline

from megastyle_cli.models.flux.model import (
    pack_latents,
    position_ids,
    reference_bias,
    unpack_latents,
    velocity,
)
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from tests.models.flux.reference_model import (
    COLUMNS,
    FULL_WIDTH,
    ROWS,
    TEXT,
    full_width_transformer,
    official_velocity,
    random_inputs,
    relative_difference,
)
from tests.tiny_flux import TRANSFORMER, tiny_transformer


@pytest.mark.parametrize(
    ("sizes", "make", "b"),
    [(TRANSFORMER, tiny_transformer, 2), (FULL_WIDTH, full_width_transformer, 1)],
)
@torch.inference_mode()
def test_the_velocity_is_that_of_the_official_equations(sizes, make, b):
    transformer = make()
    target, reference, prompt_embeds, sigmas = random_inputs(sizes, b)

    ours = velocity(
        transformer,
        target,
        reference,
        prompt_embeds,
        sigmas,
        position_ids(ROWS, COLUMNS, 1),
        guidance=3.5,
    )

    theirs = official_velocity(
        transformer.state_dict(),
        sizes,
        *(target, reference, prompt_embeds, sigmas, torch.full((b,), 3.5), ROWS, COLUMNS),
    )
    assert ours.shape == target.shape
    assert relative_difference(ours, theirs) <= 1e-5


@torch.inference_mode()
def test_other_position_conventions_give_another_velocity():
    transformer = tiny_transformer()
    inputs = random_inputs(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    unshifted, kontext = ids.clone(), ids.clone()
    for moved in (unshifted, kontext):
        moved[ROWS * COLUMNS :, 2] -= COLUMNS
    kontext[ROWS * COLUMNS :, 0] = 1

    right, *wrong = (
        velocity(transformer, *inputs, candidate, guidance=3.5)
        for candidate in (ids, unshifted, kontext)
    )

    assert all(relative_difference(other, right) > 1e-4 for other in wrong)


@torch.inference_mode()
def test_the_order_of_the_tokens_does_not_matter():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, sigmas = random_inputs(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)
    n = ROWS * COLUMNS
    order = torch.randperm(2 * n, generator=torch.Generator().manual_seed(0))

    shuffled = transformer(
        hidden_states=torch.cat([target, reference], dim=1)[:, order],
        encoder_hidden_states=prompt_embeds.states,
        pooled_projections=prompt_embeds.pooled,
        timestep=sigmas,
        guidance=torch.full((2,), 3.5),
        img_ids=ids[order],
        txt_ids=torch.zeros(TEXT, 3),
    ).sample[:, order.argsort()][:, :n]

    ours = velocity(transformer, target, reference, prompt_embeds, sigmas, ids, guidance=3.5)
    assert relative_difference(shuffled, ours) <= 1e-5


def test_every_reference_token_affects_the_loss():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, sigmas = random_inputs(TRANSFORMER)
    reference.requires_grad_()
    ids = position_ids(ROWS, COLUMNS, 1)

    def loss(reference):
        return (
            velocity(transformer, target, reference, prompt_embeds, sigmas, ids, guidance=1.0)
            .square()
            .mean()
        )

    first = loss(reference)
    (gradient,) = torch.autograd.grad(first, reference)

    assert relative_difference(loss(reference + 1), first) > 1e-4
    assert gradient.abs().min(dim=-1).values.min() > 0  # of every token


@torch.inference_mode()
def test_an_image_does_not_depend_on_its_batch():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, sigmas = random_inputs(TRANSFORMER)
    ids = position_ids(ROWS, COLUMNS, 1)

    together = velocity(transformer, target, reference, prompt_embeds, sigmas, ids, guidance=3.5)

    for k in range(2):
        own = PromptEmbeddings(
            states=prompt_embeds.states[k : k + 1], pooled=prompt_embeds.pooled[k : k + 1]
        )
        one = (target[k : k + 1], reference[k : k + 1], own, sigmas[k : k + 1])
        alone = velocity(transformer, *one, ids, guidance=3.5)
        assert relative_difference(alone, together[k : k + 1]) <= 1e-5


def test_full_counts_need_no_bias():
    assert reference_bias([1.0], TEXT, 4) is None
    assert reference_bias([], TEXT, 4) is None


@torch.inference_mode()
def test_the_reference_vanishes_with_its_count():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, sigmas = random_inputs(TRANSFORMER)
    n = ROWS * COLUMNS

    def at(count):
        return velocity(
            *(
                transformer,
                target,
                reference,
                prompt_embeds,
                sigmas,
                position_ids(ROWS, COLUMNS, 1),
            ),
            guidance=3.5,
            bias=reference_bias([count], TEXT, n),
        )

    without = velocity(
        *(
            transformer,
            target,
            reference[:, :0],
            prompt_embeds,
            sigmas,
            position_ids(ROWS, COLUMNS, 0),
        ),
        guidance=3.5,
    )
    distances = [relative_difference(at(count), without) for count in (1e-12, 0.1, 0.3, 0.6, 1.0)]
    assert distances[0] <= 1e-5
    assert distances == sorted(distances)


@torch.inference_mode()
def test_a_reference_twice_with_counts_that_add_up_to_one_is_that_reference():
    transformer = tiny_transformer()
    target, reference, prompt_embeds, sigmas = random_inputs(TRANSFORMER)
    n = ROWS * COLUMNS
    ids = position_ids(ROWS, COLUMNS, 1)

    twice = velocity(
        *(transformer, target, reference.repeat(1, 2, 1), prompt_embeds, sigmas),
        torch.cat([ids, ids[n:]]),  # at the same position
        guidance=3.5,
        bias=reference_bias([0.3, 0.7], TEXT, n),
    )

    once = velocity(transformer, target, reference, prompt_embeds, sigmas, ids, guidance=3.5)
    assert relative_difference(twice, once) <= 1e-5


def test_packed_tokens_are_those_of_diffusers_and_unpacking_restores_the_latents():
    latents = torch.randn(2, 16, 8, 12)

    tokens = pack_latents(latents)

    assert torch.equal(tokens, FluxPipeline._pack_latents(latents, 2, 16, 8, 12))
    assert torch.equal(unpack_latents(tokens, 4, 6), latents)


@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (32, 48)])  # 512 x 512, 768 x 512
def test_the_reference_lies_to_the_right_of_the_target(rows, columns):
    ids = position_ids(rows, columns, 1)

    expected = [
        (0, row, first + column)
        for first in (0, columns)
        for row in range(rows)
        for column in range(columns)
    ]
    assert ids.tolist() == [list(map(float, position)) for position in expected]
