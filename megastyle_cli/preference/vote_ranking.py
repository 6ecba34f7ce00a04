"""Systems ranked by votes: strengths with intervals over comparisons, and ranges of ranks.

Comparisons are resampled, not votes: many voters on few pictures say little about other pictures.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from megastyle_cli.preference.bradley_terry import Array, fit, win_shares
from megastyle_cli.preference.comparisons import Question
from megastyle_cli.preference.votes import Vote, control_results, self_agreement, unreliable_voters
from megastyle_cli.preference.voting_folder import Key

DRAWS = 2000
LEVEL = 95  # percent
MIN_ITEMS = 20  # fewer comparisons give no intervals


def rank_systems(votes: Sequence[Vote], key: Key, seed: int) -> dict[str, Any]:
    """The summary: voters, those left out, and for each question the systems, strongest first.

    A system's `strength` is in log odds, 0 being the mean; `win_share` is how often it is preferred
    to another one, ties being half a win. Both have 95 % intervals, `rank` is the range of ranks
    that simultaneous intervals of all differences leave.
    """
    left_out = unreliable_voters(votes, key)
    kept = [vote for vote in votes if vote.voter not in left_out]
    results = control_results(votes, key)
    same, repeated = self_agreement(kept, key)
    counted = [vote for vote in kept if key.items[vote.item]["kind"] == "vote"]
    questions: dict[str, Any] = {}
    for question in get_args(Question):
        found = [vote for vote in counted if vote.question == question]
        if found:
            questions[question] = _rank(question, found, key, seed)
    return {
        "page": key.page,
        "voters": len(results) - len(left_out),
        "left_out": {voter: list(results[voter]) for voter in left_out},
        "votes": len(counted),
        "self_agreement": same / repeated if repeated else None,
        "repeated": repeated,
        "questions": questions,
    }


def _rank(question: Question, votes: Sequence[Vote], key: Key, seed: int) -> dict[str, Any]:
    systems = key.systems
    items, pairs, counts = _counted(votes, key)
    total = counts.sum(axis=0)[None]  # (1, p, 3)
    strengths, ties = fit(total, pairs, len(systems))
    shares = win_shares(strengths, ties)
    outcome = _outcomes(votes, key)
    rows = [
        {
            "name": name,
            "strength": float(strengths[0, number]),
            "win_share": float(shares[0, number]),
            **outcome[name],
        }
        for number, name in enumerate(systems)
    ]
    if len(items) >= MIN_ITEMS:
        rng = np.random.default_rng([seed, question == "prompt"])
        weights = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=DRAWS)
        drawn = np.einsum("bi,ipo->bpo", weights.astype(float), counts)
        drawn_strengths, drawn_ties = fit(drawn, pairs, len(systems))
        ranks = _ranks(strengths[0], drawn_strengths)
        drawn_shares = win_shares(drawn_strengths, drawn_ties)
        for number, row in enumerate(rows):
            row["strength_ci95"] = _interval(drawn_strengths[:, number])
            row["win_share_ci95"] = _interval(drawn_shares[:, number])
            row["rank"] = ranks[number]
    return {
        "votes": len(votes),
        "comparisons": len(items),
        "tie_parameter": float(ties[0]),
        "systems": sorted(rows, key=lambda row: -row["strength"]),
    }


def _counted(votes: Sequence[Vote], key: Key) -> tuple[list[str], npt.NDArray[np.intp], Array]:
    """The comparisons; the pairs of systems (p, 2); and how the votes on each went, (i, p, 3)."""
    number = {name: i for i, name in enumerate(key.systems)}
    items = sorted({vote.item for vote in votes})
    row = {item: i for i, item in enumerate(items)}
    pairs = sorted({tuple(number[name] for name in key.items[item]["systems"]) for item in items})
    column = {pair: i for i, pair in enumerate(pairs)}
    counts = np.zeros((len(items), len(pairs), 3))
    for vote in votes:
        pair = tuple(number[name] for name in key.items[vote.item]["systems"])
        counts[row[vote.item], column[pair], 2 if vote.chosen is None else vote.chosen] += 1
    return items, np.array(pairs), counts


def _outcomes(votes: Sequence[Vote], key: Key) -> dict[str, dict[str, int]]:
    """How often each system was preferred, not preferred, tied, and failed with the other one."""
    counts = {name: Counter[str]() for name in key.systems}
    for vote in votes:
        for number, name in enumerate(key.items[vote.item]["systems"]):
            if vote.chosen is None:
                counts[name]["both_fail" if vote.is_failure else "ties"] += 1
            else:
                counts[name]["wins" if vote.chosen == number else "losses"] += 1
    kinds = ("wins", "losses", "ties", "both_fail")
    return {name: {kind: found[kind] for kind in kinds} for name, found in counts.items()}


def _ranks(strengths: Array, drawn: Array) -> list[list[int]]:
    """The range of ranks of each system: those above and below it in all likelihood count.

    By simultaneous intervals of all differences: the 95th percentile of the largest standardized
    deviation of any difference (max-t).
    """
    differences = strengths[:, None] - strengths[None, :]  # (k, k)
    deviations = drawn[:, :, None] - drawn[:, None, :]
    spread = deviations.std(axis=0)
    spread[spread == 0] = np.inf
    largest = np.abs((deviations - differences) / spread).max(axis=(1, 2))
    bound = np.percentile(largest, LEVEL)
    better = (differences / spread > bound).sum(axis=0)  # how many are above each one
    worse = (differences / spread > bound).sum(axis=1)
    return [
        [int(1 + above), int(len(strengths) - below)]
        for above, below in zip(better, worse, strict=True)
    ]


def _interval(values: Array) -> list[float]:
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return [float(low), float(high)]
