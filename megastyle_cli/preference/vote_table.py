"""The ranking by votes as a table for a terminal."""

from megastyle_cli.core.record import Record

TITLES = {"style": "closer in style", "prompt": "shows the prompt"}


def vote_table(summary: Record) -> str:
    """For each question one line per system, the strongest first."""
    lines = [f"{summary['voters']} voters, {summary['votes']:,} votes"]
    if summary["self_agreement"] is not None:
        share = f"{100 * summary['self_agreement']:.0f} %"
        lines[0] += f"; {share} of {summary['repeated']} repeated comparisons answered alike"
    for question, found in summary["questions"].items():
        names = [row["name"] for row in found["systems"]]
        width = max(map(len, [*names, TITLES[question]]))
        lines.append(
            f"\n{TITLES[question]:{width}s}  {'rank':>5s}  {'preferred':>9s}  95 % interval"
            f"   wins losses ties both fail"
        )
        for row in found["systems"]:
            low, high = row.get("win_share_ci95", (None, None))
            interval = "" if low is None else f"[{100 * low:.1f}, {100 * high:.1f}]"
            rank = "-".join(dict.fromkeys(map(str, row.get("rank", ["-"]))))
            lines.append(
                f"{row['name']:{width}s}  {rank:>5s}  {100 * row['win_share']:7.1f} %"
                f"  {interval:14s} {row['wins']:6d} {row['losses']:6d} {row['ties']:4d}"
                f" {row['both_fail']:9d}"
            )
    return "\n".join(lines) + "\n"
