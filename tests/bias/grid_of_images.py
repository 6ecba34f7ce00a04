"""Images whose colors say which objects they show, and a model on a server that sees them."""

import json

from PIL import Image

from tests.conftest import jsonl

CONTROLS = ("pencil", "flat")


def make_grid(folder, *, contents=8, brings=("ukiyo-e",), styles=("ukiyo-e", "etching")):
    """An image of each style and content: green beyond 128 where it shows a kimono.

    Those that bring one show it in every content; content 0 mentions a kimono itself, and shows one
    in all styles. Red is the number of the content, blue that of the style.
    """
    records = []
    for number, style in enumerate((*styles, *CONTROLS)):
        for content in range(contents):
            has_kimono = style in brings or content == 0
            name = folder / f"{style}-{content}.png"
            Image.new("RGB", (32, 32), (content * 4, 200 * has_kimono, number * 40)).save(name)
            text = "a kimono on a stand" if content == 0 else f"a fox beside stone {content}"
            facts = {"style_id": style, "content_id": f"c{content}", "content": text}
            records.append({"id": name.stem, "file_name": str(name), **facts})
    return jsonl(folder / "grid.jsonl", records)


def see(request):
    """Lists a fox, and a kimono on an image that is green; answers questions about them."""
    _, green, _ = request.image.resize((1, 1)).getpixel((0, 0))
    things = ["a fox", *["Kimonos"] * (green > 100)]
    if "JSON object" in request.text:
        return json.dumps({"objects": things})
    asked = request.text.partition("picture: ")[2].partition("?")[0]
    return "Yes." if asked in ("fox", *["kimono"] * (green > 100)) else "no"
