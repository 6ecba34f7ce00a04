"""Small inputs for every command: drawn images, records, and the sizes of tiny models."""

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

NUM_IMAGES = 9
NUM_TEXTS = 240
NUM_STYLES, CONTENTS = 8, "abcdef"  # one letter each: the tiny FLUX knows letters
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WORDS = (
    ("woodcut", "oil painting", "watercolor", "pixel art", "line drawing", "mosaic", "ink wash"),
    ("teal", "ochre", "crimson", "navy", "olive", "violet", "amber", "rose", "slate"),
    ("soft", "harsh", "low", "bright", "dim", "golden"),
    ("crisp", "blurred", "broken", "jagged", "rounded"),
)


def write_inputs(folder: Path) -> None:
    """Fills an empty folder with what the commands of commands.py read."""
    images = folder / "images"
    images.mkdir(parents=True)
    for seed in range(NUM_IMAGES):
        draw(seed, (72, 56)).save(images / f"{seed}.png")
    (images / "cut.png").write_bytes((images / "0.png").read_bytes()[:150])
    more = folder / "more"
    more.mkdir()
    for seed in range(NUM_IMAGES, 2 * NUM_IMAGES):
        draw(seed, (64, 48)).save(more / f"{seed}.png")
    write_lines(folder / "texts.jsonl", _texts())
    write_lines(folder / "pairs.jsonl", _pairs())
    _write_training_images(folder / "training")
    (folder / "tower.json").write_text(json.dumps(TOWER))


def write_flux(folder: Path) -> None:
    """A FLUX of tiny size with random weights."""
    from tests.tiny_flux import save_tiny_flux

    save_tiny_flux(folder)


def draw(seed: int, size: tuple[int, int]) -> Image.Image:
    """An image of ellipses and boxes, different for every seed."""
    rng = random.Random(seed)
    image = Image.new("RGB", size, f"hsl({rng.randrange(360)}, 50%, 70%)")
    pen = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = rng.randrange(size[0]), rng.randrange(size[1])
        box = (left, top, left + rng.randrange(8, 40), top + rng.randrange(8, 40))
        shape = rng.choice((pen.ellipse, pen.rectangle))
        shape(box, fill=f"hsl({rng.randrange(360)}, 80%, {rng.randrange(20, 80)}%)")
    return image


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    """Writes records as JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _texts() -> Iterable[dict[str, Any]]:
    rng = random.Random(3)
    for n in range(NUM_TEXTS):
        words = "In the style of {}, {} accents, {} light, {} edges".format(*map(rng.choice, WORDS))
        if rng.random() < 0.4:
            words += f", number {rng.randrange(400)} of a series"
        yield {"id": f"t{n:03}", "style": words, "content": f"a thing number {n % 70} on a table"}


def _pairs() -> Iterable[dict[str, Any]]:
    for n in range(NUM_IMAGES):
        yield {
            **{"id": f"s{n % 3}_c{n}", "style_id": f"s{n % 3}", "content_id": f"c{n}"},
            **{"style_file_name": f"images/{n % 3}.png", "content_file_name": f"images/{n}.png"},
            **{"file_name": f"images/{n}.png", "style": f"ink {n % 3}", "content": f"thing {n}"},
        }


def _write_training_images(folder: Path) -> None:
    folder.mkdir()
    records = []
    for style in range(NUM_STYLES):
        for content in range(len(CONTENTS)):
            name = f"s{style}c{content}.png"
            colour = (style * 30, 255 - style * 25, style * 97 % 256)
            image = Image.new("RGB", (40, 40), colour)
            box = (content * 3, 5, content * 3 + 20, 30)
            ImageDraw.Draw(image).ellipse(box, fill=(content * 50 % 256, style * 20, 90))
            image.save(folder / name)
            labels = {"style_id": f"{style}", "content_id": f"{content}"}
            words = {
                "style": f"in the style of ink {style}",
                "content": f"thing {CONTENTS[content]}",
            }
            records.append({"id": name[:-4], "file_name": name, **labels, **words})
    write_lines(folder / "metadata.jsonl", records)
