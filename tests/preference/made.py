"""Pictures of made-up systems, a page of them, and voters with known preferences."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from megastyle_cli.preference.comparisons import draw_comparisons
from megastyle_cli.preference.voting_folder import Key, read_key, write_page

__all__ = ["choices", "page", "read_key", "save", "systems"]
COLORS = ("red", "green", "blue", "orange")


def systems(folder: Path, names=("first", "second", "third"), contents=5):
    """Records of each system: 4 styles times `contents`, with pictures whose bytes differ."""
    for number, color in enumerate(COLORS):
        Image.new("RGB", (40, 30), color).save(folder / f"ref{number}.png")
    found = {}
    for name in names:
        found[name] = []
        for style in range(len(COLORS)):
            for content in range(contents):
                path = folder / f"{name}-{style}-{content}.png"
                Image.new("RGB", (24, 24), (style * 60, content * 40, 80 * len(found))).save(path)
                found[name].append(
                    {
                        "id": path.stem,
                        "style_id": f"s{style}",
                        "content_id": f"c{content}",
                        "content": f"thing {content}",
                        "style_file_name": str(folder / f"ref{style}.png"),
                        "file_name": str(path),
                    }
                )
    return found


def page(folder: Path, count=60, contents=5) -> Key:
    """A page of three systems in `folder`/page."""
    made = systems(folder, contents=contents)
    comparisons = draw_comparisons(made, count, 0)
    return write_page(folder / "page", comparisons, list(made), title="Which is closer?")


def save(path: Path, key: Key, votes, *, voter="a", changes=None) -> Path:
    """A file as the page saves it: `votes` are (item, question, choice)."""
    listed = [
        {"item": item, "question": question, "left": 0, "choice": choice, "ms": 900}
        for item, question, choice in votes
    ]
    saved = {"format": "megastyle votes", "version": 1, "page": key.page, "voter": voter}
    saved |= {"saved": "2026-11-01T10:00:00Z", "votes": listed}
    path.write_text(json.dumps(saved | (changes or {})))
    return path


def choices(key: Key, strengths, seed: int, question="style"):
    """Votes of one voter who follows the Bradley-Terry model, all controls right."""
    rng = np.random.default_rng(seed)
    for item, facts in key.items.items():
        if facts["kind"] == "control":
            yield item, "style", "left"
        else:
            one, other = (strengths[key.systems.index(name)] for name in facts["systems"])
            is_first = rng.random() < 1 / (1 + np.exp(other - one))
            yield item, question, "left" if is_first else "right"
