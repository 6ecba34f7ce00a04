"""The plan of memory: known cards, what autograd really keeps, and the cheapest way that fits."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from transformers import SiglipVisionConfig

from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.common.memory_plan import (
    GIB,
    Footprint,
    batch_bytes,
    footprint,
    plan,
    state_bytes,
)

MIB = 2**20
SO400M = SiglipVisionConfig(
    hidden_size=1152,
    intermediate_size=4304,
    num_hidden_layers=27,
    num_attention_heads=16,
    image_size=384,
    patch_size=14,
)
PARAMETERS = 428_225_600
SMALL = Footprint(layers=4, tokens=4096, kept=100, inputs=10, outside=40)  # a picture: 440 bytes


def of_so400m(*, is_compiled):
    return footprint(SO400M, is_half=True, is_compiled=is_compiled)


def planned(free_gib, *, is_compiled, **asked):
    """The plan of the paper's batch on one device."""
    state = state_bytes(PARAMETERS, moments=2, has_average=False, is_half=True, world=1)
    fixed = state + batch_bytes(8192, 8192, 439)
    foot = of_so400m(is_compiled=is_compiled)
    return plan(foot, pictures=8192, fixed=fixed, free=round(free_gib * GIB), **asked)


@pytest.mark.parametrize(("is_compiled", "mib"), [(False, 840), (True, 490)])
def test_a_picture_in_so400m_takes_what_was_calculated(is_compiled, mib):
    assert of_so400m(is_compiled=is_compiled).picture(0) / MIB == pytest.approx(mib, rel=0.02)


def test_the_inputs_of_layers_are_counted_in_single_precision():
    # 43 MiB at two bytes a number; but places are float32, and so is what passes between layers
    foot = of_so400m(is_compiled=False)

    assert foot.layers * foot.inputs / MIB == pytest.approx(2 * 43.2, rel=0.01)
    assert foot.picture(1) == foot.outside + 27 * foot.inputs + foot.kept


def test_weights_gradients_and_moments_take_16_bytes_a_parameter():
    bare = partial(state_bytes, 1000, world=1)

    assert bare(moments=2, has_average=False, is_half=False) == 16_000
    assert bare(moments=1, has_average=True, is_half=False) == 16_000
    assert bare(moments=2, has_average=False, is_half=True) == 18_000


@pytest.mark.parametrize(
    ("free_gib", "is_compiled", "chunk"),
    [(139, True, 128), (139, False, 128), (79, True, 96), (79, False, 64), (23.5, True, 16)],
)
def test_known_cards_get_chunks_without_computing_a_layer_twice(free_gib, is_compiled, chunk):
    made = planned(free_gib, is_compiled=is_compiled)

    assert (made.chunk, made.every, made.fits) == (chunk, 0, True)
    assert made.forwards == 4


def test_a_share_that_fits_is_embedded_in_one_pass():
    made = plan(of_so400m(is_compiled=True), pictures=205, fixed=10 * GIB, free=139 * GIB)

    assert made.is_single_pass and made.every == 0 and made.forwards == 3


def test_some_layers_are_computed_twice_if_that_saves_the_second_pass():
    made = plan(of_so400m(is_compiled=True), pictures=300, fixed=10 * GIB, free=139 * GIB)

    assert made.is_single_pass and made.every == 3 and 3 < made.forwards < 4


def test_layers_are_computed_twice_if_a_chunk_would_be_too_small_without():
    made = planned(17, is_compiled=False)

    assert made.every > 0 and made.fits and made.chunk * 729 >= 4096


def test_what_is_asked_for_is_kept():
    assert planned(139, is_compiled=True, chunk=7).chunk == 7
    assert planned(139, is_compiled=True, every=2).every == 2
    both = planned(20, is_compiled=False, chunk=4096, every=0)
    assert (both.chunk, both.every, both.fits) == (4096, 0, False)
    assert "may not be enough" in both.sentence


def test_if_nothing_fits_the_plan_takes_least():
    made = plan(SMALL, pictures=8, fixed=1000, free=1000)

    assert (made.chunk, made.every, made.fits) == (1, 1, False)


@pytest.mark.parametrize("free", [2_000, 5_000, 20_000, 100_000])
@pytest.mark.parametrize("pictures", [1, 8, 97])
def test_a_plan_that_says_it_fits_does(free, pictures):
    made = plan(SMALL, pictures=pictures, fixed=100, free=free)

    assert made.fits and 100 + made.chunk * SMALL.picture(made.every) <= 0.9 * free
    assert 1 <= made.chunk <= pictures


def test_a_tower_of_few_tokens_gets_larger_chunks():
    few = replace(SMALL, tokens=64)

    assert plan(SMALL, pictures=10_000, fixed=0, free=2 * 10**6).chunk == 32
    assert plan(few, pictures=10_000, fixed=0, free=2 * 10**6).chunk == 2048


def test_the_plan_is_said_in_words():
    made = planned(139, is_compiled=True)

    assert made.sentence.startswith("64 chunks of 128 pictures, each embedded twice, all activ")
    assert made.sentence.endswith("of 139.0 GiB free")
    twice = planned(139, is_compiled=True, every=2).sentence
    assert "14 of 27 layers computed twice" in twice


# What autograd keeps

WIDE = {
    "hidden_size": 96,
    "intermediate_size": 288,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
}


def kept_bytes(dtype, layers, pictures):
    """Bytes of what a forward pass holds for the backward pass, weights left out."""
    vision = new_tower(SiglipVisionConfig(**WIDE, num_hidden_layers=layers), seed=0).train()
    own = {weight.untyped_storage().data_ptr() for weight in vision.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor  # held, so that no address returns
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        embedded = StyleTower(vision, dtype)(torch.rand(pictures, 3, 64, 64))
    assert embedded.requires_grad
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_layer_keeps_what_is_counted_for_it(dtype):
    foot = footprint(
        SiglipVisionConfig(**WIDE, num_hidden_layers=1),
        is_half=dtype != torch.float32,
        is_compiled=False,
    )

    one, two = (kept_bytes(dtype, n, 3) - kept_bytes(dtype, n, 2) for n in (1, 2))

    assert two - one == pytest.approx(foot.kept, rel=0.05)
    assert one - (two - one) == pytest.approx(foot.outside, rel=0.2)
