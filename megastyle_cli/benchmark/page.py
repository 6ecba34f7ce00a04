"""What the page of a benchmark shows, from its table and its results by query."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from megastyle_cli.benchmark.markdown import (
    label_of_measure,
    measures_of,
    notes,
    ordered,
    rank_words,
)
from megastyle_cli.benchmark.query_results import query_of
from megastyle_cli.core.record import Record
from megastyle_cli.report.benchmark_report import (
    Chart,
    PairMatrix,
    StyleValues,
    SystemValue,
    TierCharts,
    WorstStyle,
    write_benchmark_report,
)
from megastyle_cli.report.style_name import style_name

NUM_WORST = 12
NUM_FOUND = 3  # systems whose first picture is shown for a style


def write_page(path: Path, table: Record, lines: Sequence[Record]) -> None:
    """Writes the page of a table, and of the lines it was folded from, to `path`."""
    tiers = table["benchmark"]["tiers"]
    first = [line for line in lines if line["tier"] == tiers[0]]
    by_style = style_values(table, first)
    write_benchmark_report(
        path,
        title=f"Benchmark {table['benchmark']['hash']}: {len(table['systems'])} systems",
        notes=list(notes(table)),
        tiers=[tier_charts(table, tier) for tier in tiers],
        matrix=pair_matrix(table),
        by_style=by_style,
        worst=worst_styles(table, first, by_style),
    )


def tier_charts(table: Record, tier: str) -> TierCharts:
    """The measures of one tier, each with its systems, best first."""
    charts = [
        Chart(
            label=label_of_measure(key.rpartition(".")[2]),
            is_share=not key.endswith("style_score"),
            values=[_value(each, key) for each in ordered(table, key)],
        )
        for key in measures_of(table, tier)
    ]
    return TierCharts(name=tier, num_queries=table["benchmark"]["queries"][tier], charts=charts)


def pair_matrix(table: Record) -> PairMatrix | None:
    """The pairs of systems on the measure that orders the first tier; None for one system."""
    key = measures_of(table, table["benchmark"]["tiers"][0])[0]
    names = [str(each["name"]) for each in ordered(table, key)]
    if len(names) < 2:
        return None
    at = {name: row for row, name in enumerate(names)}
    diff = np.zeros((len(names), len(names)))
    differs = np.zeros(diff.shape, bool)
    for pair in table["pairs"]:
        if pair["measure"] == key:
            a, b = at[pair["a"]], at[pair["b"]]
            diff[a, b], diff[b, a] = pair["diff"], -pair["diff"]
            differs[a, b] = differs[b, a] = pair["differs"]
    return PairMatrix(
        label=label_of_measure(key.rpartition(".")[2]),
        is_share=not key.endswith("style_score"),
        names=names,
        diff=diff.tolist(),
        differs=differs.tolist(),
    )


def style_values(table: Record, lines: Sequence[Record]) -> StyleValues:
    """The mean of each system and style, in the textbook precision if there is one.

    A query without a line counts as 0. Systems are ordered best first, styles worst first.
    """
    keys = measures_of(table, str(lines[0]["tier"]))
    names = [key.rpartition(".")[2] for key in keys]
    measure = next((name for name in names if name.startswith("map_")), names[0])
    systems = [str(each["name"]) for each in ordered(table, keys[0])]
    queries = {query_of(line): str(line["style_id"]) for line in lines}
    styles = list(dict.fromkeys(queries.values()))
    row, column = ({name: at for at, name in enumerate(of)} for of in (systems, styles))
    sums = np.zeros((len(systems), len(styles)))
    for line in lines:
        sums[row[line["system"]], column[line["style_id"]]] += float(line.get(measure, 0.0))
    values = sums / np.bincount([column[style] for style in queries.values()])
    order = np.argsort(values.mean(axis=0), kind="stable")
    return StyleValues(
        label=label_of_measure(measure),
        systems=systems,
        styles=[styles[at] for at in order],
        values=values[:, order].tolist(),
    )


def worst_styles(table: Record, lines: Sequence[Record], by_style: StyleValues) -> list[WorstStyle]:
    """The styles with the lowest mean over systems, each by the query that fewest find."""
    shown = by_style.systems[:NUM_FOUND]
    by_query: dict[tuple[str, str, str], dict[str, Record]] = {}
    for line in lines:
        by_query.setdefault(query_of(line), {})[str(line["system"])] = line
    found = []
    for at, style in enumerate(by_style.styles[:NUM_WORST]):
        own = [each for query, each in by_query.items() if query[1] == style]
        hits = [sum(_is_hit(line) for line in each.values()) for each in own]
        query = own[int(np.argmin(hits))]
        first = next(iter(query.values()))
        found.append(
            WorstStyle(
                name=style_name({}, style),
                picture=str(first.get("file_name", "")),
                values=[
                    (system, by_style.values[row][at])
                    for row, system in enumerate(by_style.systems)
                    if system in shown
                ],
                found=[
                    (system, _found(query[system]), _is_hit(query[system]))
                    for system in shown
                    if system in query and _found(query[system])
                ],
            )
        )
    return found


def _value(system: Record, key: str) -> SystemValue:
    found = system["measures"][key]
    rank = system["rank"][key]
    return SystemValue(
        name=str(system["name"]),
        is_fitted=bool(system["trained_on"] and system["trained_on"]["styles"]),
        value=found["value"],
        low=found.get("low", found["value"]),
        high=found.get("high", found["value"]),
        has_interval="low" in found,
        chance=found["random"],
        rank=rank_words(rank),
        letters=system["letters"][key],
        is_best=rank[0] == 1,
    )


def _is_hit(line: Record) -> bool:
    return any(line.get(name) for name in ("recall_1", "map_1", "map_csd_1"))


def _found(line: Record) -> str:
    neighbors = line.get("neighbors")
    first = neighbors[0] if isinstance(neighbors, list) and neighbors else {}
    return str(first.get("file_name", "")) if isinstance(first, dict) else ""
