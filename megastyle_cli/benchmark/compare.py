"""Systems compared query by query: intervals, differences, tests and ranks that allow for each
other.

Groups of queries are resampled, the same ones for all systems, because the values of one group are
not independent and the systems answer the same queries. Twelve equal systems, each judged by its
own 95 % interval against one of them, give a false alarm in a third of tables; the simultaneous
intervals here are right for all pairs at once in 95 %.

Sources: the bootstrap over clusters (Efron 1979); simultaneous intervals by the largest
standardised difference (max-t; Hothorn, Bretz and Westfall 2008); Holm 1979; letters by
insertion and absorption (Piepho 2004).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from megastyle_cli.compute.significance import holm, sign_test
from megastyle_cli.retrieval.embed import Array

DRAWS = 10_000
MIN_GROUPS = 20  # with fewer there are no intervals, only sign tests
LEVEL = 0.05
BLOCK_CELLS = 2**23  # weights multiplied at a time
# s systems, q queries, c groups, p pairs of systems


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Systems compared on one measure; intervals are None with fewer than MIN_GROUPS groups.

    `interval` (s, 2) is of each mean. `pairs` (p, 2) are systems i < j and `diff` (p,) the mean of
    i less that of j, with pointwise and `simultaneous` intervals (p, 2), `p` by paired sign flips
    (or by the exact sign test) and `p_holm`. `versus` (s, 2) are simultaneous intervals of each
    system less the first one. `differs` (p,) says which pairs differ significantly; `rank` (s, 2)
    the best and the worst rank of each system.
    """

    mean: Array
    interval: Array | None
    pairs: Array
    diff: Array
    pointwise: Array | None
    simultaneous: Array | None
    versus: Array | None
    p: Array
    p_holm: Array
    differs: Array
    rank: Array


def compare(
    values: Array,
    groups: Array,
    *,
    seed: int = 0,
    draws: int = DRAWS,
    higher_is_better: bool = True,
) -> Compared:
    """Compares systems by `values` (s, q) of the same queries, whose groups are codes (q,)."""
    num_systems, num_groups = len(values), int(groups.max()) + 1
    sums = np.zeros((num_groups, num_systems))
    np.add.at(sums, groups, values.T)
    counts = np.bincount(groups, minlength=num_groups).astype(float)  # (c,)
    mean = sums.sum(axis=0) / counts.sum()
    pairs = np.array([(i, j) for j in range(num_systems) for i in range(j)], int).reshape(-1, 2)
    diff = mean[pairs[:, 0]] - mean[pairs[:, 1]]
    group_diff = sums[:, pairs[:, 0]] - sums[:, pairs[:, 1]]  # (c, p)
    interval = pointwise = simultaneous = versus = None
    if num_groups < MIN_GROUPS:
        p = np.array([sign_test(np.round(column, 9)) for column in group_diff.T])
        p_holm = holm(p)
        differs = p_holm < LEVEL
    else:
        drawn = _resampled_means(sums, counts, seed, draws)  # (draws, s)
        interval = np.quantile(drawn, (LEVEL / 2, 1 - LEVEL / 2), axis=0).T
        drawn_diff = drawn[:, pairs[:, 0]] - drawn[:, pairs[:, 1]]
        pointwise = np.quantile(drawn_diff, (LEVEL / 2, 1 - LEVEL / 2), axis=0).T
        simultaneous = max_t_intervals(diff, drawn_diff, num_groups)
        versus = max_t_intervals(mean - mean[0], drawn - drawn[:, :1], num_groups)
        p = _sign_flip(group_diff, seed, draws)
        p_holm = holm(p)
        differs = (simultaneous[:, 0] > 0) | (simultaneous[:, 1] < 0)
    sign = 1 if higher_is_better else -1
    return Compared(
        mean=mean,
        interval=interval,
        pairs=pairs,
        diff=diff,
        pointwise=pointwise,
        simultaneous=simultaneous,
        versus=versus,
        p=p,
        p_holm=p_holm,
        differs=differs,
        rank=_ranks(num_systems, pairs, sign * diff, differs),
    )


def max_t_intervals(diff: Array, drawn: Array, num_groups: int) -> Array:
    """Intervals (p, 2) that contain all true differences at once in 95 % of tables.

    `diff` (p,) are the differences and `drawn` (draws, p) their bootstrap values. The standard
    error of each is multiplied by the 95 % point of the largest standardised deviation.
    """
    # the bootstrap variance of c groups is too small by (c - 1) / c
    error = drawn.std(axis=0) * np.sqrt(num_groups / (num_groups - 1))
    varies = error > 1e-12
    if not varies.any():
        return np.stack([diff, diff], axis=1)
    deviation = np.abs(drawn[:, varies] - diff[varies]) / drawn[:, varies].std(axis=0)
    critical = _student(float(np.quantile(deviation.max(axis=1), 1 - LEVEL)), num_groups - 1)
    half = np.where(varies, critical * error, 0.0)
    return np.stack([diff - half, diff + half], axis=1)


def tie_letters(rank_order: Sequence[int], pairs: Array, differs: Array) -> list[str]:
    """The letters of each system (s,): two without a significant difference share one.

    `rank_order` lists the systems, best first; the first group of ties is "a".
    """
    position = {system: at for at, system in enumerate(rank_order)}
    groups = [frozenset(range(len(rank_order)))]
    for (i, j), is_different in zip(pairs.tolist(), differs, strict=True):
        if not is_different:
            continue
        split: list[frozenset[int]] = []
        for group in groups:
            at = {position[i], position[j]}
            split += [group - {one} for one in at] if at <= group else [group]
        distinct = list(dict.fromkeys(split))
        groups = [group for group in distinct if not any(group < other for other in distinct)]
    groups.sort(key=sorted)
    letters = [_letter(number) for number in range(len(groups))]
    return [
        "".join(
            letter for letter, group in zip(letters, groups, strict=True) if position[s] in group
        )
        for s in range(len(rank_order))
    ]


def _student(z: float, freedom: int) -> float:
    """The point of Student's distribution with the tail of the normal one at `z`, approximately.

    Standard errors of few groups are themselves uncertain. Source: Abramowitz and Stegun 26.7.5.
    """
    first = (z**3 + z) / (4 * freedom)
    return float(z + first + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2))


def _letter(number: int) -> str:
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"


def _ranks(num_systems: int, pairs: Array, diff: Array, differs: Array) -> Array:
    """The best and the worst rank (s, 2): 1 + those that beat it, and those that it does not."""
    rank = np.tile([1, num_systems], (num_systems, 1))
    for (i, j), difference, is_different in zip(pairs.tolist(), diff, differs, strict=True):
        if is_different:
            winner, loser = (i, j) if difference > 0 else (j, i)
            rank[winner, 1] -= 1
            rank[loser, 0] += 1
    return rank


def _resampled_means(sums: Array, counts: Array, seed: int, draws: int) -> Array:
    """The means (draws, s) of resampled groups."""
    weights = _multiplicities(len(counts), seed, draws)
    block = max(1, BLOCK_CELLS // len(counts))
    parts = []
    for start in range(0, draws, block):
        some = weights[start : start + block].astype(np.float64)
        parts.append((some @ sums) / (some @ counts)[:, None])
    return np.concatenate(parts)


def _sign_flip(group_diff: Array, seed: int, draws: int) -> Array:
    """Two-sided p values (p,): how often random signs of the groups give as large a sum."""
    observed = np.abs(group_diff.sum(axis=0)) - 1e-9
    signs = _signs(len(group_diff), seed, draws)
    block = max(1, BLOCK_CELLS // len(group_diff))
    reached = np.zeros(group_diff.shape[1])
    for start in range(0, draws, block):
        flipped = np.abs(signs[start : start + block].astype(np.float64) @ group_diff)
        reached += (flipped >= observed).sum(axis=0)
    p: Array = (1 + reached) / (1 + draws)
    return p


@lru_cache(2)
def _multiplicities(num_groups: int, seed: int, draws: int) -> Array:
    """How often each group is drawn (draws, c), the same for all systems and measures."""
    rng = np.random.default_rng(seed)
    shares = np.full(num_groups, 1 / num_groups)
    return rng.multinomial(num_groups, shares, size=draws).astype(np.uint16)


@lru_cache(2)
def _signs(num_groups: int, seed: int, draws: int) -> Array:
    rng = np.random.default_rng([seed, 1])
    return (2 * rng.integers(2, size=(draws, num_groups), dtype=np.int8) - 1).astype(np.int8)
