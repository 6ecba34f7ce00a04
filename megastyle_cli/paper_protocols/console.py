"""The summary of protocols as a table for a terminal."""

from collections.abc import Iterator

from megastyle_cli.core.record import Record

COLUMNS = ("random", "ceiling", "relative")
OTHERS = (
    *("similarity", "cosine", "logit_scale", "clipscore", "mean_of_references", "references"),
    *("styles", "negative", "negative_robust", "left_out", "images"),
)


def protocol_table(summary: Record) -> str:
    """One line for each protocol; then its definition, its other values and its models."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Record) -> Iterator[str]:
    head = "".join(f"{name:>9s}" for name in COLUMNS)
    yield f"{'protocol':16s} {'value':>8s}  {'95 % interval':18s}{head}  scale"
    for row in summary["protocols"]:
        low, high = row.get("low"), row.get("high")
        interval = "" if low is None else f"[{low:.3f}, {high:.3f}]"
        cells = "".join(f"{_number(row.get(name)):>9s}" for name in COLUMNS)
        value = _number(row["value"])
        yield f"{row['protocol']:16s} {value:>8s}  {interval:18s}{cells}  {row['scale']}"
    for row in summary["protocols"]:
        yield ""
        yield f"{row['protocol']}: {row['definition']}"
        others = [f"{name} {_number(row[name])}" for name in OTHERS if name in row]
        yield "  " + " \u00b7 ".join(others)
        for model in row["models"]:
            revision = f", revision {model['revision']}" if "revision" in model else ""
            processing = model.get("preprocessing", "its own preprocessing")
            yield f"  {model['model']}{revision}: {processing}"


def _number(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"
