"""Memory plan: the cheapest way that fits, and the one that needs least if none does."""

from dataclasses import replace
from functools import partial

import pytest

from megastyle_cli.training.common.memory_plan import (
    Footprint,
    format_bytes,
    plan_memory,
    state_bytes,
)

SMALL = Footprint(layers=4, tokens=4096, kept=100, inputs=10, outside=40)  # an item: 440 bytes


def test_weights_gradients_and_moments_take_16_bytes_per_parameter():
    bare = partial(state_bytes, 1000, world=1)

    assert bare(moment_bytes=8.0, has_ema=False, is_half=False) == 16_000
    assert bare(moment_bytes=4.0, has_ema=True, is_half=False) == 16_000
    assert bare(moment_bytes=8.0, has_ema=False, is_half=True) == 18_000


def test_if_nothing_fits_the_plan_needs_least():
    made = plan_memory(SMALL, items=8, fixed=1000, free=1000)

    assert (made.micro_batch, made.recompute_every, made.fits) == (1, 1, False)


@pytest.mark.parametrize("free", [2_000, 5_000, 20_000, 100_000])
@pytest.mark.parametrize("items", [1, 8, 97])
def test_a_plan_that_says_it_fits_does(free, items):
    made = plan_memory(SMALL, items=items, fixed=100, free=free)

    assert (
        made.fits
        and 100 + made.micro_batch * SMALL.bytes_per_item(made.recompute_every) <= 0.9 * free
    )
    assert 1 <= made.micro_batch <= items


def test_items_of_few_tokens_get_larger_micro_batches():
    few = replace(SMALL, tokens=64)

    assert plan_memory(SMALL, items=10_000, fixed=0, free=2 * 10**6).micro_batch == 32
    assert plan_memory(few, items=10_000, fixed=0, free=2 * 10**6).micro_batch == 2048


def test_bytes_are_shown_in_the_unit_that_fits():
    assert format_bytes(3 * 2**20 // 2) == "1.5 MiB" and format_bytes(5 * 2**30) == "5.0 GiB"
