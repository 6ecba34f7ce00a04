"""The table of a benchmark as Markdown, which also reads well on a terminal."""

from collections.abc import Iterator

from megastyle_cli.benchmark.compare import MIN_GROUPS
from megastyle_cli.benchmark.query_results import PLAIN
from megastyle_cli.benchmark.results_table import LOWER_IS_BETTER
from megastyle_cli.core.record import Record

SEEN = "*"  # marks a system that was fitted on styles of the benchmark


def markdown(table: Record) -> str:
    """One table for each tier, best system first, and what its signs mean."""
    return "\n".join(_lines(table)) + "\n"


def label_of_measure(name: str) -> str:
    """The words for a measure: mAP@10, CSLS Recall@1."""
    stem, _, rank = name.rpartition("_")
    words = {"recall": "Recall", "map": "mAP", "map_csd": "mAP (CSD)"}
    prefix = "CSLS " if stem.startswith("csls_") else ""
    if (known := words.get(stem.removeprefix("csls_"))) and rank.isdecimal():
        return f"{prefix}{known}@{rank}"
    return {"same_content_1": "same content first", "style_score": "style score"}.get(name, name)


def measures_of(table: Record, tier: str) -> list[str]:
    """The keys of the measures of a tier that the table shows, the one that orders it first."""
    start = "" if tier == PLAIN else f"{tier}."
    own = [
        key
        for key in dict.fromkeys(key for each in table["systems"] for key in each["measures"])
        if (key.startswith(start) if start else "." not in key)
    ]
    names = [key.removeprefix(start) for key in own]
    recalls = [name for name in names if name.startswith("recall_")][:1]
    precisions = [n for n in names if n.startswith("map_") and "csd" not in n][-1:]
    corrected = [name for name in names if name.startswith("csls_recall_")][:1]
    rest = [name for name in ("same_content_1", "style_score") if name in names]
    return [f"{start}{name}" for name in (*recalls, *precisions, *corrected, *rest)]


def ordered(table: Record, key: str) -> list[Record]:
    """The systems that have a measure, best first."""
    sign = 1 if key.rpartition(".")[2] in LOWER_IS_BETTER else -1
    having = [each for each in table["systems"] if key in each["measures"]]
    return sorted(having, key=lambda each: sign * each["measures"][key]["value"])


def rank_words(rank: list[int]) -> str:
    """A range of ranks: 2, or 2-4."""
    return str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}-{rank[1]}"


def notes(table: Record) -> Iterator[str]:
    """What a reader must know: the benchmark, the intervals, the marks, the failures."""
    benchmark = table["benchmark"]
    unit = "designs" if benchmark.get("group_key") else "styles"
    first = benchmark["tiers"][0]
    designs = f", {benchmark['groups'][first]:,} designs" if unit == "designs" else ""
    yield (
        f"Benchmark {benchmark['hash']} (recipe {benchmark['recipe']}): {benchmark['styles']}"
        f" styles{designs}, {benchmark['queries'][first]:,} queries."
    )
    few = table["too_few_groups"]
    if few != benchmark["tiers"]:
        yield (
            f"Intervals: 95 %, by resampling {unit}, the same for all systems. Systems that share a"
            " letter do not differ significantly (simultaneous intervals); bold: not beaten by any."
        )
    yield from _fitted(table)
    yield from warnings(table)
    if "near" in benchmark["tiers"]:
        yield f"Near styles were chosen by {benchmark['near']}."


def warnings(table: Record) -> Iterator[str]:
    """What a reader of the values alone would miss: few groups, pictures that systems lack."""
    unit = "designs" if table["benchmark"].get("group_key") else "styles"
    if few := table["too_few_groups"]:
        yield (
            f"Fewer than {MIN_GROUPS} {unit} ({', '.join(few)}): too few for intervals; only exact"
            " sign tests with Holm's correction compare the systems."
        )
    for name, number in table["missing"].items():
        count = "1 picture: it counts" if number == 1 else f"{number:,} pictures: they count"
        yield f"{name} lacks {count} as failed, none is left out."


def _fitted(table: Record) -> Iterator[str]:
    """Which encoders were fitted on styles of the benchmark."""
    too_high = "styles: values of such styles are higher than those of unseen ones."
    for each in table["systems"]:
        seen = each["trained_on"]
        if not seen or not seen["styles"]:
            continue
        count = f"{seen['styles']} of these {seen['of']} {too_high}"
        if judge := table["benchmark"].get("judge"):
            yield f"{SEEN} The judge of these pictures, {judge}, was fitted on {count}"
            return
        yield f"{SEEN} {each['name']} was fitted on {count}"


def _lines(table: Record) -> Iterator[str]:
    for tier in table["benchmark"]["tiers"]:
        keys = measures_of(table, tier)
        if len(table["benchmark"]["tiers"]) > 1:
            number = table["benchmark"]["queries"][tier]
            yield f"**{tier}** ({number:,} queries)\n"
        heads = [label_of_measure(key.rpartition(".")[2]) for key in keys]
        yield f"| system | rank | {' | '.join(heads)} |"
        yield f"| --- | --- |{' --- |' * len(keys)}"
        for each in ordered(table, keys[0]):
            mark = SEEN if each["trained_on"] and each["trained_on"]["styles"] else ""
            cells = [_cell(each, key) for key in keys]
            rank = rank_words(each["rank"][keys[0]])
            yield f"| {_escaped(each['name'])}{mark} | {rank} | {' | '.join(cells)} |"
        chance = next(iter(table["systems"]))["measures"]
        values = [_number(key, chance[key]["random"]) if key in chance else "" for key in keys]
        yield f"| (by chance) | | {' | '.join(values)} |\n"
    yield from (f"{note}  " for note in notes(table))


def _cell(system: Record, key: str) -> str:
    found = system["measures"].get(key)
    if found is None:
        return ""
    value = _number(key, found["value"])
    value = f"**{value}**" if system["rank"][key][0] == 1 else value
    if "low" in found:
        value += f" [{_number(key, found['low'])}, {_number(key, found['high'])}]"
    return f"{value} {system['letters'][key]}"


def _number(key: str, value: float) -> str:
    """Percent with one digit; a cosine with three."""
    return f"{value:.3f}" if key.endswith("style_score") else f"{100 * value:.1f}"


def _escaped(name: str) -> str:
    return name.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
