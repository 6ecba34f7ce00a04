"""Batches are a function of seed and step: complete groups, every image, any world size."""

from collections import Counter

import numpy as np
import pytest

from megastyle_cli.training.encoder.sampler import GroupSampler, rank_slice


def styles_of(*sizes):
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


def rows_of_epoch(sampler, epoch=0):
    first = epoch * sampler.steps_per_epoch
    return np.concatenate([sampler.batch(first + i) for i in range(sampler.steps_per_epoch)])


def test_an_epoch_shows_every_image_once_if_k_divides_the_style_sizes():
    sampler = GroupSampler(styles_of(8, 16, 8, 32), groups_per_batch=4, k=4, seed=1)

    for epoch in range(3):
        assert sorted(rows_of_epoch(sampler, epoch)) == list(range(64))


def test_a_group_has_one_style_and_an_incomplete_one_is_filled_from_it():
    styles = styles_of(5, 2, 9, 4)
    sampler = GroupSampler(styles, groups_per_batch=1, k=4, seed=1)

    groups = rows_of_epoch(sampler).reshape(-1, 4)

    assert len(groups) == 2 + 1 + 3 + 1 == sampler.num_groups
    assert all(len(set(styles[group])) == 1 for group in groups)
    seen = Counter(groups.ravel().tolist())
    assert set(seen) == set(range(20)) and max(seen.values()) == 2
    repeats = [len(set(group)) for group in groups.tolist()]
    assert sorted(repeats) == [2, 4, 4, 4, 4, 4, 4]  # only a style of two has to repeat an image


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_share_the_same_global_batch_in_every_world_size(world):
    sampler = GroupSampler(styles_of(8, 16, 8, 32), groups_per_batch=4, k=4, seed=1)
    batch = GroupSampler(sampler.styles, groups_per_batch=4, k=4, seed=1).batch(5)

    slices = [rank_slice(sampler.batch(5), rank, world) for rank in range(world)]

    assert np.array_equal(np.concatenate(slices), batch)
    assert {len(part) for part in slices} == {16 // world}


def test_a_batch_does_not_depend_on_earlier_steps():
    styles = styles_of(*[7] * 9)
    uninterrupted = GroupSampler(styles, groups_per_batch=4, k=3, seed=2)
    batches = [uninterrupted.batch(step) for step in range(20)]

    resumed = GroupSampler(styles, groups_per_batch=4, k=3, seed=2)

    assert all(np.array_equal(resumed.batch(step), batches[step]) for step in (19, 7, 0, 13))


def test_epochs_and_seeds_differ():
    styles = styles_of(*[8] * 8)
    one, other = (GroupSampler(styles, groups_per_batch=4, k=4, seed=seed) for seed in (1, -2))

    orders = [rows_of_epoch(one), rows_of_epoch(one, 1), rows_of_epoch(other)]

    assert len({order.tobytes() for order in orders}) == 3


def test_groups_that_do_not_fill_a_batch_are_dropped():
    sampler = GroupSampler(styles_of(*[4] * 10), groups_per_batch=4, k=4, seed=1)

    assert sampler.steps_per_epoch == 2
    assert len(set(rows_of_epoch(sampler))) == 32
    assert sampler.batch(2).tobytes() != sampler.batch(0).tobytes()  # the next epoch


def test_too_few_groups_for_a_batch_make_no_step():
    assert GroupSampler(styles_of(4, 4), groups_per_batch=3, k=4, seed=1).steps_per_epoch == 0
