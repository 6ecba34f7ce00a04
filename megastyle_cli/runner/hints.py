"""Errors for inputs of which no record can be used: the fault is the input's, not its records'."""

from megastyle_cli.core.errors import TOO_MANY_FAILURES, MegastyleError
from megastyle_cli.runner.progress import Stats

CAPTION = (
    "create it first: megastyle caption photos/ -o captions.jsonl"
    " (dedup and cluster: or name another key with --on)"
)
HOW_TO_CREATE = {
    "style": CAPTION,
    "content": CAPTION,
    "file_name": "this command reads images: name a folder of them, or JSON lines with file_name",
    "style_file_name": "give --style IMAGE, or create pairs first: megastyle pair",
    "content_file_name": "create pairs first: "
    "megastyle pair styles.jsonl --contents photos/ -o pairs.jsonl",
}


def nothing_usable(stats: Stats) -> MegastyleError | None:
    """The error of a run in which every record failed since it lacks one and the same key."""
    key, count = next(iter(stats.missing_keys.most_common(1)), ("", 0))
    if not count or count < stats.read:
        return None
    names = [each for each in stats.present_keys if each != "id" and not each.startswith("_")]
    present = ", ".join(f'"{name}"' for name in names)
    others = f"; the first one has {present}" if present else ""
    return MegastyleError(
        f'no record has a "{key}" ({count:,} of {stats.read:,}){others}',
        hint=HOW_TO_CREATE.get(key, f"name the key that the records have instead of {key!r}"),
        exit_code=TOO_MANY_FAILURES,
    )
