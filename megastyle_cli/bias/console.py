"""The summaries of associations and of kept styles as tables for a terminal."""

from megastyle_cli.core.record import Record

MAX_ROWS = 20


def association_table(summary: Record) -> str:
    """One line per style: its association, p, and the objects it brings."""
    width = max([len(row["style"]) for row in summary["bias"]] + [5])
    lines = [f"{'style':{width}s}  {'rise':>6s}  {'95 % interval':15s} {'p (Holm)':>8s}  objects"]
    for row in summary["bias"]:
        nouns = ", ".join(f"{each['noun']} {each['association']:+.2f}" for each in row["nouns"])
        interval = _interval(row, "association")
        floor = f" (floor {row['floor']:+.2f})" if "floor" in row else ""
        lines.append(
            f"{row['style']:{width}s}  {row['association']:+6.2f}  {interval:15s}"
            f" {row['p_holm']:8.2g}  {nouns}{floor}"
        )
    return "\n".join(lines) + "\n"


def intrusion_table(summary: Record) -> str:
    """One line per style: its intrusion, p, and how often its objects are seen."""
    width = max([len(row["style"]) for row in summary["bias"]] + [5])
    lines = [
        f"{'style':{width}s}  {'intrusion':>9s}  {'95 % interval':15s} {'p (Holm)':>8s}  objects"
    ]
    for row in summary["bias"]:
        things = ", ".join(
            f"{each['object']} {each['seen']}/{row['contents']}" for each in row["objects"]
        )
        interval = _interval(row, "intrusion")
        floor = f" (floor {row['floor']:+.2f})" if "floor" in row else ""
        lines.append(
            f"{row['style']:{width}s}  {row['intrusion']:+9.2f}  {interval:15s}"
            f" {row['p_holm']:8.2g}  {things}{floor}"
        )
    counts = summary["questions"]
    invalid = sum(counts["invalid"].values())
    lines.append(
        f"{counts['asked']:,} questions asked, {counts['known']:,} known before, {invalid:,}"
        f" invalid answers, {counts['inconsistent']:,} pairs of answers contradict each other"
    )
    return "\n".join(lines) + "\n"


def kept_table(summary: Record) -> str:
    """The measures over styles, then the styles that keep least."""
    lines = [f"{'':22s} {'value':>8s}  95 % interval"]
    for name in ("kept", "lost_share", "map_1", "random_map_1", "frequency_slope"):
        if name in summary:
            lines.append(f"{name:22s} {summary[name]:8.3f}  {_interval(summary, name)}".rstrip())
    lines.append(f"{'styles':22s} {summary['styles']:8,}")
    lines.append(f"{'left out':22s} {summary['left_out']:8,}")
    worst = sorted(summary["kept_by_style"].items(), key=lambda each: each[1])[:MAX_ROWS]
    lines += [f"{style[:22]:22s} {kept:8.3f}" for style, kept in worst]
    return "\n".join(lines) + "\n"


def _interval(row: Record, name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "" if low is None or high is None else f"[{low:.2f}, {high:.2f}]"
