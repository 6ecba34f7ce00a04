"""Pairs for `megastyle synth`: every painting of a folder over every photograph, as squares.

  python examples/painted_photographs.py PICTURES OUT

PICTURES holds styles/ and contents/ with metadata.jsonl, as examples/pictures does. Each photograph
gives five contents: its middle, and its corners at 0.6 of the side. Writes OUT/pairs.jsonl
(id, style_id, content, license, style_file_name, content_file_name) and the squares, 256 px.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

SIDE_PX = 256
# how far across and down, of what is left over, and the side, of the shorter side
CUTS = ((0.5, 0.5, 1.0), (0, 0, 0.6), (1, 0, 0.6), (0, 1, 0.6), (1, 1, 0.6))


def cut(photograph: Image.Image) -> list[Image.Image]:
    """The squares of a photograph, in the order of CUTS."""
    squares = []
    for across, down, part in CUTS:
        side_px = int(min(photograph.size) * part)
        left = int((photograph.width - side_px) * across)
        top = int((photograph.height - side_px) * down)
        square = photograph.crop((left, top, left + side_px, top + side_px))
        squares.append(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
    return squares


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    pictures, out = given.pictures.resolve(), given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    squares = []
    for told in read(pictures / "contents"):
        photograph = Image.open(pictures / "contents" / told["file_name"]).convert("RGB")
        for number, square in enumerate(cut(photograph)):
            name = f"{Path(told['file_name']).stem}-{number}"
            square.save(out / f"{name}.png")
            squares.append(name)
    with (out / "pairs.jsonl").open("w") as pairs:
        for told in read(pictures / "styles"):
            style_id = f"painting-{Path(told['file_name']).stem}"
            for name in squares:
                pair = {
                    "id": f"{style_id}-{name}",
                    "style_id": style_id,
                    "content": name,
                    "license": told["license"],
                    "style_file_name": str(pictures / "styles" / told["file_name"]),
                    "content_file_name": str(out / f"{name}.png"),
                }
                pairs.write(json.dumps(pair) + "\n")


if __name__ == "__main__":
    main()
