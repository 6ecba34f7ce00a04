"""A folder with a page for voters, and the key that tells which system made which picture.

page.html   what voters get
key.json    what they must not see: it names the systems; `eval` needs it to count the votes
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.core.atomic_file import atomic_write
from megastyle_cli.core.errors import BadRecord, MegastyleError
from megastyle_cli.core.json_file import read_object
from megastyle_cli.core.record import canonical_json
from megastyle_cli.io.images import open_picture
from megastyle_cli.preference.comparisons import Picture, PicturePair
from megastyle_cli.report.html import write_document
from megastyle_cli.report.preference_page import preference_html
from megastyle_cli.report.thumbnails import webp_base64

PAGE, KEY = "page.html", "key.json"
VERSION = 1
SIDE_PX = 512  # the longer side of a picture on the page
QUALITY = 90  # as WebP: artifacts must not decide
PART = 0.7  # of each side, what a control shows of a reference


@dataclass(frozen=True, kw_only=True)
class Key:
    """What belongs to a page: its hash, the systems, and its comparisons by their ids.

    A comparison has a `kind`; also its two `systems`, and what it `repeats`, if it has any.
    """

    page: str
    systems: list[str]
    items: dict[str, dict[str, Any]]


def write_page(
    folder: Path, comparisons: Sequence[PicturePair], systems: Sequence[str], *, title: str
) -> Key:
    """Writes both files. Raises MegastyleError if a picture cannot be read."""
    shown = dict.fromkeys(
        picture
        for each in comparisons
        for picture in (Picture(path=each.reference), *each.pictures)
    )
    encoded = dict(zip(shown, parallel_map(_encoded, list(shown)), strict=True))
    names = {picture: _digest(text) for picture, text in encoded.items()}
    items: list[dict[str, Any]] = []
    for each in comparisons:
        item: dict[str, Any] = {
            "reference": names[Picture(path=each.reference)],
            "prompt": each.prompt,
            "pictures": [names[picture] for picture in each.pictures],
            "questions": each.questions,
        }
        if each.repeats is not None:
            item["repeats"] = items[each.repeats]["id"]
        items.append({"id": _digest(canonical_json([len(items), item])), **item})
    page = _digest(canonical_json(items))
    key = Key(
        page=page,
        systems=list(systems),
        items={
            item["id"]: {
                "kind": each.kind,
                **({"systems": list(each.systems)} if each.systems else {}),
                **({"repeats": item["repeats"]} if "repeats" in item else {}),
            }
            for item, each in zip(items, comparisons, strict=True)
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"version": VERSION, **vars(key)}, indent=1, ensure_ascii=False)
    atomic_write(folder / KEY, text + "\n")
    pictures = {names[picture]: text for picture, text in encoded.items()}
    order = sorted(items, key=lambda item: str(item["id"]))  # not by system or kind
    html = preference_html(title=title, page=page, items=order, pictures=pictures)
    write_document(html, folder / PAGE)
    return key


def read_key(folder: Path) -> Key:
    """What `write_page` wrote. Raises MegastyleError if it is missing, damaged or newer."""
    hint = "give the folder that --make-preference wrote"
    try:
        found = read_object(folder / KEY, hint, version=int, page=str, systems=list, items=dict)
    except FileNotFoundError:
        raise MegastyleError(f"{folder} has no {KEY}", hint=hint) from None
    if found["version"] > VERSION:
        raise MegastyleError(
            f"{folder / KEY} has version {found['version']}, this program reads {VERSION}",
            hint="update megastyle",
        )
    return Key(page=found["page"], systems=found["systems"], items=found["items"])


def _encoded(picture: Picture) -> str:
    """The picture as WebP in base64; what the file says about its origin is not in it."""
    try:
        image = open_picture(picture.path, SIDE_PX)
    except BadRecord as bad:
        raise MegastyleError(bad.message, hint="repair it, or remove its record") from bad
    if picture.corner is not None:
        width, height = (max(1, round(PART * side)) for side in image.size)
        left = (image.width - width) * (picture.corner % 2)
        top = (image.height - height) * (picture.corner // 2)
        image = image.crop((left, top, left + width, top + height))
    return webp_base64(image, QUALITY)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
