"""Draws a data set of typefaces: shape styles without color, for a benchmark that anyone can build.

  apt-get install fonts-aenigma
  python typefaces.py /usr/share/fonts/truetype/aenigma typefaces/

Each face is a style, each of 32 characters a content. Faces of one family, by the first word of its
name, are one design: benchmarks resample or draw by `design`. Faces that lack a character or draw
two of them alike are left out. The pixels depend on the version of FreeType in Pillow, which is
printed: a benchmark's hash can only be compared between equal versions.
"""

import argparse
import json
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
SIDE_PX, FIT_PX = 128, 104
LICENSE = "aenigma: free to redistribute and change, with attribution to Brian Kent"
SOURCE = "Debian package fonts-aenigma"


def draw(font, character):
    """The character in the middle of a white square, as large as fits."""
    left, top, right, bottom = font.getbbox(character)
    image = Image.new("L", (max(1, right - left), max(1, bottom - top)), 255)
    ImageDraw.Draw(image).text((-left, -top), character, font=font, fill=0)
    scale = min(1.0, FIT_PX / max(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    square = Image.new("L", (SIDE_PX, SIDE_PX), 255)
    place = tuple((SIDE_PX - side) // 2 for side in size)
    square.paste(image.resize(size, Image.Resampling.LANCZOS), place)
    return square


def face(path, folder):
    """The records of a face, whose pictures are written; none if it lacks a character."""
    try:
        font = ImageFont.truetype(path, 4 * SIDE_PX)
        family, style = font.getname()
        drawn = [draw(font, character) for character in CHARACTERS]
    except (OSError, ValueError):
        return []
    missing = draw(font, "\uffff").tobytes()
    pixels = {image.tobytes() for image in drawn}
    if len(pixels) < len(CHARACTERS) or missing in pixels:
        return []
    name = re.sub(r"\(BRK\)", "", family or path.stem).strip()
    design = re.sub(r"[^a-z0-9]", "", name.lower().split()[0]) or path.stem
    (folder / path.stem).mkdir(parents=True, exist_ok=True)
    records = []
    for character, image in zip(CHARACTERS, drawn, strict=True):
        picture = f"{path.stem}/{character}.png"
        image.save(folder / picture, optimize=True)
        records.append(
            {
                "id": f"{path.stem}-{character}",
                "file_name": picture,
                "style_id": path.stem,
                "style_identity": f"{name} {style or ''}".strip(),
                "design": design,
                "content_id": character,
                "license": LICENSE,
                "source": SOURCE,
                "author": "Brian Kent",
            }
        )
    return records


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fonts", type=Path, help="folder of .ttf files")
    parser.add_argument("output", type=Path)
    given = parser.parse_args()

    paths = sorted(given.fonts.rglob("*.ttf"))
    given.output.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(face, paths, [given.output] * len(paths), chunksize=8))
    records = [record for face_records in found for record in face_records]
    listing = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (given.output / "metadata.jsonl").write_text(listing, encoding="utf-8")
    designs = len({record["design"] for record in records})
    print(
        f"{sum(map(bool, found))} of {len(paths)} faces in {designs} designs, {len(records):,}"
        f" pictures; FreeType {features.version('freetype2')}"
    )


if __name__ == "__main__":
    main()
