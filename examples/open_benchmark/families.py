"""Draws a data set of icon families: styles of line, fill and corner, with the same contents.

  npm pack @iconify/json@2.2.535
  pip install resvg-py==0.5.0
  python families.py iconify-json-2.2.535.tgz families/

Each family of FAMILIES is a style, each concept of CONCEPTS a content. No encoder of megastyle was
fitted on these families or on variants of them, and their licenses allow to share the images. A
family draws a concept if it has one of the concept's names. Families that share almost identical
images would be no two styles: pairs with a quarter of their images alike at 24 px are printed.
"""

import argparse
import io
import json
import tarfile
from itertools import combinations
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SIDE_PX = 128
SMALL_PX = 24
ALIKE = 12  # mean difference of two small images, of 255 grey levels
# the set of @iconify/json and the ending of its names
FAMILIES = """
at-icons bitcoin-icons:-filled boxicons:-filled bytesize charm ci cil codicon cuida:-outline el ep
eva:-outline f7 fa fe flowbite:-solid fontisto gg gravity-ui griddy-icons grommet-icons iconoir
ix la lineicons ls lsicon:-filled mdi-light meteor-icons mynaui nimbus octicon:-16
ooui oui pajamas picon prime proicons qlementine-icons:-16 quill radix-icons rivet-icons
si:-duotone subway tabler tdesign:-filled uil uiw vadivam
""".split()
CONCEPTS = {
    "bell": "bell notification notifications alarm-bell",
    "book": "book book-open book-closed read open-book",
    "bookmark": "bookmark bookmark-simple",
    "calendar": "calendar date calendar-alt calendar-today",
    "camera": "camera photo-camera camera-alt",
    "chart": "chart bar-chart chart-bar graph bar-graph analytics stats statistics",
    "chat": "chat message comment speech-bubble message-circle bubble messages comments",
    "clock": "clock time access-time watch-later time-five clock-alt",
    "edit": "edit pencil pen edit-pencil compose",
    "eye": "eye view visible show visibility preview eye-open",
    "file": "file document page doc paper file-blank file-alt",
    "filter": "filter funnel filter-alt",
    "folder": "folder directory folder-closed",
    "globe": "globe world earth web internet planet",
    "heart": "heart love favorite like favourite",
    "home": "home house home-simple home-alt",
    "image": "image picture photo gallery images image-alt img",
    "info": "info information info-circle information-circle circle-info about",
    "link": "link chain link-alt hyperlink link-simple url",
    "lock": "lock lock-closed padlock locked lock-alt",
    "mail": "mail envelope email message-closed letter",
    "monitor": "monitor desktop display screen computer tv device-desktop",
    "paperclip": "paperclip attachment attach clip paper-clip attach-file",
    "phone": "phone telephone call phone-call",
    "pin": "map-pin pin location location-pin marker map-marker place location-dot",
    "play": "play media-play play-button controls-play",
    "printer": "printer print",
    "question": "question help question-circle help-circle question-mark circle-question",
    "refresh": "refresh reload sync rotate refresh-cw arrows-rotate update",
    "search": "search magnifying-glass magnifier magnify search-alt zoom find magnifying",
    "settings": "settings gear cog setting configure gearshape preferences",
    "star": "star star-alt favorite grade",
    "tag": "tag label price-tag tags",
    "trash": "trash delete bin trash-can trash-bin garbage rubbish trash-alt",
    "user": "user person account profile avatar user-alt people single",
    "video": "video video-camera film videocam camera-video movie camcorder",
}


def find_icon(icons, names, ending):
    """The first icon that has one of the names, and its name; None if there is none."""
    aliases = icons.get("aliases", {})
    for name in (candidate + ending for candidate in names):
        alias = aliases.get(name, {"parent": name})
        if set(alias) == {"parent"} and alias["parent"] in icons["icons"]:
            return name, icons["icons"][alias["parent"]]
    return None


def draw(icon, icons):
    """The icon in black on white, as a grey image."""
    left, top, width, height = (
        icon.get(key, icons.get(key, default))
        for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' viewBox="{left} {top} {width} {height}" width="{width}" height="{height}"'
        f' color="#000">{icon["body"]}</svg>'
    )
    scale = {"width": SIDE_PX} if width >= height else {"height": SIDE_PX}
    content = resvg_py.svg_to_bytes(svg_string=svg, background="#fff", **scale)
    drawn = Image.open(io.BytesIO(content)).convert("L")
    square = Image.new("L", (SIDE_PX, SIDE_PX), 255)
    square.paste(drawn, ((SIDE_PX - drawn.width) // 2, (SIDE_PX - drawn.height) // 2))
    return square


def draw_family(family, archive, about, folder):
    """The records of a family and its small images by concept; the images are written."""
    prefix, _, ending = family.partition(":")
    icons = json.load(archive.extractfile(f"package/json/{prefix}.json"))
    style, records, small = prefix + ending, [], {}
    (folder / style).mkdir(parents=True, exist_ok=True)
    for concept, names in CONCEPTS.items():
        found = find_icon(icons, names.split(" "), ending)
        image = draw(found[1], icons) if found else None
        if image is None or image.getextrema()[0] > 128:
            continue
        image.save(folder / style / f"{concept}.png", optimize=True)
        small[concept] = np.asarray(image.resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX), float)
        records.append(
            {
                "id": f"{style}-{concept}",
                "file_name": f"{style}/{concept}.png",
                "style_id": style,
                "style_identity": about["name"],
                "design": prefix,
                "content_id": concept,
                "license": about["license"]["spdx"],
                "source": f"{about['author'].get('url', prefix)} (npm: @iconify/json)",
                "author": about["author"]["name"],
                "icon": found[0],
            }
        )
    return records, small


def print_alike(small):
    """Prints the pairs of families that draw a quarter or more of their common concepts alike."""
    for one, other in combinations(small, 2):
        common = sorted(set(small[one]) & set(small[other]))
        alike = [abs(small[one][name] - small[other][name]).mean() < ALIKE for name in common]
        if common and np.mean(alike) >= 0.25:
            print(f"{one} and {other}: {sum(alike)} of {len(common)} images are alike")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path, help="the .tgz file of @iconify/json")
    parser.add_argument("output", type=Path)
    given = parser.parse_args()

    records, small = [], {}
    with tarfile.open(given.package) as archive:
        about = json.load(archive.extractfile("package/collections.json"))
        version = json.load(archive.extractfile("package/package.json"))["version"]
        for family in FAMILIES:
            prefix = family.partition(":")[0]
            rows, small[family] = draw_family(family, archive, about[prefix], given.output)
            records += rows
    listing = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (given.output / "metadata.jsonl").write_text(listing, encoding="utf-8")
    print_alike(small)
    print(f"{len(small)} families, {len(records):,} images; @iconify/json {version}")


if __name__ == "__main__":
    main()
