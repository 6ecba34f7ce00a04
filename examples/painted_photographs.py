"""Pairs for `megastyle synth`: every painting of a folder over every photograph, as squares.

  python examples/painted_photographs.py PICTURES OUT [--crops N]

PICTURES holds styles/ and contents/ with metadata.jsonl, as examples/pictures does. Each photograph
gives five contents, or the first N of them: its middle, and its corners at 0.6 of the side. Writes
OUT/pairs.jsonl (id, style_id, content, license, style_file_name, content_file_name) and the squares,
256 px.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from PIL import Image

SIDE_PX = 256
# position across and down, as shares of the free space, and side, as share of the shorter side
CROPS = ((0.5, 0.5, 1.0), (0, 0, 0.6), (1, 0, 0.6), (0, 1, 0.6), (1, 1, 0.6))


def crop_squares(photograph: Image.Image) -> list[Image.Image]:
    """The squares of a photograph, in the order of CROPS."""
    squares = []
    for across, down, share in CROPS:
        side_px = int(min(photograph.size) * share)
        left = int((photograph.width - side_px) * across)
        top = int((photograph.height - side_px) * down)
        square = photograph.crop((left, top, left + side_px, top + side_px))
        squares.append(square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS))
    return squares


def read_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--crops", type=int, default=len(CROPS))
    args = parser.parse_args()
    pictures, out = args.pictures.resolve(), args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    squares = []
    for record in read_records(pictures / "contents"):
        photograph = Image.open(pictures / "contents" / record["file_name"]).convert("RGB")
        for number, square in enumerate(crop_squares(photograph)[: args.crops]):
            name = f"{Path(record['file_name']).stem}-{number}"
            square.save(out / f"{name}.png")
            squares.append(name)
    with (out / "pairs.jsonl").open("w") as pairs:
        for record in read_records(pictures / "styles"):
            style_id = f"painting-{Path(record['file_name']).stem}"
            for name in squares:
                pair = {
                    "id": f"{style_id}-{name}",
                    "style_id": style_id,
                    "content": name,
                    "license": record["license"],
                    "style_file_name": str(pictures / "styles" / record["file_name"]),
                    "content_file_name": str(out / f"{name}.png"),
                }
                pairs.write(json.dumps(pair) + "\n")


if __name__ == "__main__":
    main()
