"""A summary for people: one line of it, the part for the top of a page, a table for a terminal."""

from megastyle_cli.core.record import PROVENANCE, Record

HEADLINE = {
    "style_score": "style score",
    "text_score": "text score",
    "map_1": "mAP@1",
    "map_10": "mAP@10",
}
WIDTH = 26


def headline(summary: Record) -> str:
    """The figures people ask for first, in one line, with intervals and what chance gives."""
    told = []
    for name, words in HEADLINE.items():
        if name not in summary:
            continue
        chance = summary.get(f"random_{name}")
        beside = "" if chance is None else f", random {chance:.3f}"
        told.append(f"{words} {summary[name]:.3f} {_interval(name, summary)}".rstrip() + beside)
    return " \u00b7 ".join(told) or f"{summary['n']:,} pictures, none with a style to compare"


def table(summary: Record) -> str:
    """The summary as lines for a terminal: a measure, its value and interval, what chance gives.

    First which models made it.
    """
    notes = summary.get(PROVENANCE, {}).get("eval", {})
    lines = [f"{name:{WIDTH}s} {value}" for name, value in notes.items() if name != "run"]
    lines.append(f"{'':{WIDTH}s} {'value':>9s}  {'95 % interval':16s} random")
    for name, value in summary.items():
        if name.startswith(("random_", "_")) or name.endswith(("_low", "_high")):
            continue
        chance = summary.get(f"random_{name}")
        beside = f"{chance:.3f}" if chance is not None else ""
        between = _interval(name, summary)
        lines.append(f"{name:{WIDTH}s} {_shown(value):>9s}  {between:16s} {beside}".rstrip())
    return "\n".join(lines) + "\n"


def _interval(name: str, summary: Record) -> str:
    low, high = summary.get(f"{name}_low"), summary.get(f"{name}_high")
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no" if value is False else "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
