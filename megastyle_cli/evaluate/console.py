"""A summary as text for a terminal: one line, a table, and hints about measures it lacks."""

from collections.abc import Iterator

from megastyle_cli.core.record import PROVENANCE, Record
from megastyle_cli.evaluate.scored_set import ScoredSet

HEADLINE = {
    "style_score": "style score",
    "text_score": "text score",
    "map_1": "mAP@1",
    "map_10": "mAP@10",
}
WIDTH = 26
NO_REFERENCES = "no image has a reference to compare contents with"


def headline(summary: Record) -> str:
    """The main measures in one line, with intervals and random baselines."""
    parts = []
    for name, label in HEADLINE.items():
        if name not in summary:
            continue
        random = summary.get(f"random_{name}")
        baseline = "" if random is None else f", random {random:.3f}"
        parts.append(f"{label} {summary[name]:.3f} {_interval(name, summary)}".rstrip() + baseline)
    return " \u00b7 ".join(parts) or f"{summary['n']:,} images, none with a style to compare"


def table(summary: Record) -> str:
    """The models, then one line per measure: its value, interval and random baseline."""
    notes = summary.get(PROVENANCE, {}).get("eval", {})
    lines = [f"{name:{WIDTH}s} {value}" for name, value in notes.items() if name != "run"]
    lines.append(f"{'':{WIDTH}s} {'value':>9s}  {'95 % interval':16s} random")
    for name, value in summary.items():
        if name.startswith(("random_", "_")) or name.endswith(("_low", "_high")):
            continue
        random = summary.get(f"random_{name}")
        baseline = f"{random:.3f}" if random is not None else ""
        interval = _interval(name, summary)
        lines.append(f"{name:{WIDTH}s} {_format(value):>9s}  {interval:16s} {baseline}".rstrip())
    return "\n".join(lines) + "\n"


def missing_metric_hints(summary: Record, scored_set: ScoredSet, *, leakage: bool) -> Iterator[str]:
    """For each baseline or measure that the summary lacks, one sentence on what would add it.

    `leakage` says whether content leakage was requested.
    """
    yield from _retrieval_hints(summary, scored_set)
    if "style_score" in summary and "random_style_score" not in summary:
        yield f"no random style score and no CSLS: {_negatives_hint(scored_set)}"
    if "text_score" in summary and "random_text_score" not in summary:
        yield f"no random text score: {_prompts_hint(scored_set)}"
    if "content_leakage" in summary:
        return
    if leakage:
        has_references = "content_similarity" in summary
        reason = _negatives_hint(scored_set) if has_references else NO_REFERENCES
        yield f"no content leakage: {reason}"
    elif "content_similarity" in summary:
        yield "no content leakage: give --leakage, and --text-model again if it was given"


def _retrieval_hints(summary: Record, scored_set: ScoredSet) -> Iterator[str]:
    """Why images with style labels are not searched for, or are among their own contents."""
    groups = set(scored_set.labelled.groups) if scored_set.labelled.scored else set()
    if len(groups) == 1:
        yield f"no retrieval: all images are of one style ({groups.pop()})"
    elif groups and not scored_set.labelled.has_groups:
        yield "no retrieval: no style has two images"
    elif summary.get("other_contents_only") is False and summary["split"] == "leave-one-out":
        yield (
            "no content labels: images of a query's own content are in its gallery; name their key"
            " with --content-label"
        )


def _negatives_hint(scored_set: ScoredSet) -> str:
    if scored_set.references.provenance:
        return "add --others with images of other styles"
    if scored_set.provenance.get("reference_set"):
        return "give --reference and --others again"
    return "there are no references of other styles"


def _prompts_hint(scored_set: ScoredSet) -> str:
    if scored_set.models.text is None:
        return "give --text-model again"
    return "there are no prompts of other images"


def _interval(name: str, summary: Record) -> str:
    low, high = summary.get(f"{name}_low"), summary.get(f"{name}_high")
    return "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"


def _format(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no" if value is False else "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
