"""The table of a benchmark: every system on every measure, from the results by query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megastyle_cli.benchmark.compare import (
    DRAWS,
    MIN_GROUPS,
    Compared,
    compare,
    tie_letters,
)
from megastyle_cli.benchmark.query_results import BY_CHANCE, PLAIN, fact, is_measure, query_of
from megastyle_cli.benchmark.tiers import codes
from megastyle_cli.core.record import Record
from megastyle_cli.retrieval.embed import Array

LOWER_IS_BETTER = ("same_content_1",)
DIGITS = 4


@dataclass(frozen=True, kw_only=True)
class TierValues:
    """The values of one tier: of each measure (s, q), with the systems and groups of queries."""

    systems: Sequence[str]
    groups: Array
    measures: dict[str, Array]
    random: dict[str, float]


def build_table(lines: Sequence[Record], *, seed: int = 0, draws: int = DRAWS) -> Record:
    """The table of these lines as one record.

    `benchmark` says what was run; `systems` has for each its `measures`, `rank` and `letters` by
    tier; `pairs` the differences of two systems in the main measures; `missing` the pictures that
    systems lack. A query that a system has no line for has failed: it scores 0, or chance where
    low values are good. The first system is the baseline: `versus` is each system less it.
    """
    names = list(dict.fromkeys(str(line["system"]) for line in lines))
    tiers = list(dict.fromkeys(str(line["tier"]) for line in lines))
    systems = {name: _facts_of(name, lines) for name in names}
    pairs: list[Record] = []
    num_groups: dict[str, int] = {}
    for tier in tiers:
        values = tier_values(lines, tier)
        num_groups[tier] = int(values.groups.max()) + 1
        for measure, matrix in values.measures.items():
            higher = measure not in LOWER_IS_BETTER
            compared = compare(
                matrix, values.groups, seed=seed, draws=draws, higher_is_better=higher
            )
            key = measure if tier == PLAIN else f"{tier}.{measure}"
            _add(systems, values, measure, key, compared)
            if measure in main_measures(values.measures):
                pairs += _pairs(values.systems, key, compared)
    queries = {tier: len({query_of(r) for r in lines if r["tier"] == tier}) for tier in tiers}
    benchmark: Record = {
        "hash": fact(lines[0], "benchmark"),
        "recipe": fact(lines[0], "recipe"),
        "tiers": tiers,
        "near": fact(lines[0], "near") or None,
        "queries": queries,
        "groups": num_groups,
        "group_key": fact(lines[0], "group_key") or None,
        "judge": fact(lines[0], "judge") or None,
        "styles": len({str(line["style_id"]) for line in lines}),
    }
    return {
        "benchmark": {key: value for key, value in benchmark.items() if value is not None},
        "baseline": names[0],
        "systems": list(systems.values()),
        "pairs": pairs,
        "missing": {name: each["missing"] for name, each in systems.items() if each["missing"]},
        "too_few_groups": [tier for tier, number in num_groups.items() if number < MIN_GROUPS],
    }


def tier_values(lines: Sequence[Record], tier: str) -> TierValues:
    """The values of the lines of one tier; failed queries have the values of a failure."""
    own = [line for line in lines if line["tier"] == tier]
    systems = list(dict.fromkeys(str(line["system"]) for line in own))
    groups = {query_of(line): str(line["group"]) for line in own}
    column = {query: at for at, query in enumerate(groups)}
    row = {system: at for at, system in enumerate(systems)}
    measures: dict[str, Array] = {}
    random: dict[str, float] = {}
    for name in _measure_names(own):
        chance = np.zeros(len(groups))
        matrix = np.full((len(systems), len(groups)), np.nan)
        for line in own:
            at = column[query_of(line)]
            if isinstance(value := line.get(name), int | float):
                matrix[row[str(line["system"])], at] = value
            chance[at] = line.get(f"random_{name.removeprefix('csls_')}", chance[at])
        failed = chance if name in BY_CHANCE else np.zeros(len(groups))
        measures[name] = np.where(np.isnan(matrix), failed, matrix)
        random[name] = float(chance.mean())
    return TierValues(
        systems=systems,
        groups=codes(list(groups.values())),
        measures=measures,
        random=random,
    )


def main_measures(names: Sequence[str] | dict[str, Array]) -> list[str]:
    """The measures whose pairs are reported: Recall at the first rank, AP at the last, style."""
    recalls = [name for name in names if name.startswith("recall_")]
    precisions = [name for name in names if name.startswith("map_") and "csd" not in name]
    return [*recalls[:1], *precisions[-1:], *(name for name in names if name == "style_score")]


def _measure_names(lines: Sequence[Record]) -> list[str]:
    names = dict.fromkeys(key for line in lines for key in line)
    return [name for name in names if is_measure(name)]


def _facts_of(name: str, lines: Sequence[Record]) -> Record:
    own = [line for line in lines if line["system"] == name]
    styles = {str(line["style_id"]): line.get("fitted") for line in own}
    known = [seen for seen in styles.values() if seen is not None]
    lacks = {query_of(line): int(line.get("missing", 0)) for line in own}
    tiers = {str(line["tier"]) for line in own}
    every = {query_of(line) for line in lines if line["tier"] in tiers}
    return {
        "name": name,
        "fingerprint": fact(own[0], "fingerprint"),
        "trained_on": {"styles": sum(map(bool, known)), "of": len(styles)} if known else None,
        "missing": sum(lacks.values()) + len(every - lacks.keys()),
        "measures": {},
        "versus": {},
        "rank": {},
        "letters": {},
    }


def _add(
    systems: dict[str, Record], values: TierValues, measure: str, key: str, compared: Compared
) -> None:
    """Adds one measure of all systems to their entries."""
    sign = -1 if measure in LOWER_IS_BETTER else 1
    order = np.argsort(-sign * compared.mean, kind="stable").tolist()
    letters = tie_letters(order, compared.pairs, compared.differs)
    for at, name in enumerate(values.systems):
        entry = {"value": _round(compared.mean[at])}
        if compared.interval is not None:
            entry |= {"low": _round(compared.interval[at, 0])}
            entry |= {"high": _round(compared.interval[at, 1])}
        systems[name]["measures"][key] = {**entry, "random": _round(values.random[measure])}
        if compared.versus is not None and at:
            difference = [_round(compared.mean[at] - compared.mean[0])]
            systems[name]["versus"][key] = difference + [_round(x) for x in compared.versus[at]]
        systems[name]["rank"][key] = compared.rank[at].tolist()
        systems[name]["letters"][key] = letters[at]


def _pairs(systems: Sequence[str], key: str, compared: Compared) -> list[Record]:
    found = []
    for at, (i, j) in enumerate(compared.pairs.tolist()):
        pair: Record = {"a": systems[i], "b": systems[j], "measure": key}
        pair["diff"] = _round(compared.diff[at])
        if compared.pointwise is not None and compared.simultaneous is not None:
            pair |= {"low": _round(compared.pointwise[at, 0])}
            pair |= {"high": _round(compared.pointwise[at, 1])}
            pair["simultaneous"] = [_round(x) for x in compared.simultaneous[at]]
        pair |= {
            "p": round(float(compared.p[at]), 6),
            "p_holm": round(float(compared.p_holm[at]), 6),
        }
        found.append(pair | {"differs": bool(compared.differs[at])})
    return found


def _round(value: float) -> float:
    return round(float(value), DIGITS) + 0.0
