"""Batch sampler of the style encoder: a pure function of seed, epoch and step.

A batch holds P groups of K images of one style, so that every image has positives: among 8,192
images drawn uniformly from 170,000 styles 96 % would have none. The sampler has no state: a resumed
run sets the step, and every world size cuts the same global batch into slices.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from megastyle_cli.core.record import record_seed

Array = np.ndarray[Any, np.dtype[np.int64]]

# n images, g groups of k images


class GroupSampler:
    """Batches of `groups_per_batch` groups of `k` rows with the same number in `styles` (n,).

    An epoch shows every image of a style whose size is a multiple of k once, and images of other
    styles at least once: an incomplete last group is filled from its own style. Groups at the end
    of an epoch that do not fill a batch are dropped; the next epoch is shuffled again. A style may
    occur twice in a batch, which is harmless, since positives are found by label.
    """

    def __init__(self, styles: Array, *, groups_per_batch: int, k: int, seed: int) -> None:
        self.styles = styles
        self.groups_per_batch = groups_per_batch
        self.k = k
        self.seed = seed
        self.num_groups = int((-(-np.bincount(styles) // k)).sum())
        self.groups_of_epoch = lru_cache(2)(self._groups_of_epoch)

    @property
    def steps_per_epoch(self) -> int:
        """Complete batches in an epoch; 0 if the groups do not fill one."""
        return self.num_groups // self.groups_per_batch

    def batch(self, step: int) -> Array:
        """The rows (groups_per_batch k,) of a step's global batch; steps count over all epochs."""
        epoch, index = divmod(step, self.steps_per_epoch)
        start = index * self.groups_per_batch
        return self.groups_of_epoch(epoch)[start : start + self.groups_per_batch].reshape(-1)

    def _groups_of_epoch(self, epoch: int) -> Array:
        """All groups (g, k) of an epoch in the order they are shown."""
        rng = np.random.default_rng(record_seed(self.seed, "groups", epoch))
        order = np.lexsort((rng.random(len(self.styles)), self.styles))  # by style, shuffled within
        sizes = np.bincount(self.styles)
        first = np.cumsum(sizes) - sizes
        groups = -(-sizes // self.k)
        style = np.repeat(np.arange(len(sizes)), groups)  # (g,)
        turn = np.arange(len(style)) - np.repeat(np.cumsum(groups) - groups, groups)
        index = turn[:, None] * self.k + np.arange(self.k)  # (g, k); past the end it wraps around
        rows: Array = order[first[style, None] + index % sizes[style, None]]
        return rows[rng.permutation(len(rows))]


def rank_slice(rows: Array, rank: int, world: int) -> Array:
    """The contiguous share of a global batch that a rank processes; `world` divides its length."""
    share = len(rows) // world
    return rows[rank * share : (rank + 1) * share]
