"""Renders training images of known style: families of icons, emoji and typefaces.

  python examples/style_families.py OUT --iconify DIR [--fonts DIR] [--exclude NAMES]
      [--contents NAMES] [--treatments N] [--most N] [--jobs N]

DIR is the unpacked npm package @iconify/json (and a folder of .ttf files). A family is one set of
icons in one of its variants (thin, bold, filled, duotone ...), or one typeface. Each family also
appears under treatments that keep the content and change the style: strokes thicker, thinner,
square or round, shapes outlined, pixelated or distorted, ink coloured, graded, shaded or set on a
tile; a family under a treatment is a style of its own. Writes PNGs and metadata.jsonl
(file_name, style_id, content, group, license, source). Needs resvg-py and scipy. Deterministic.

The kind of treatment and its amounts are drawn once for each style; half of the treated styles stay
plain ink on white, so that batches contain styles that differ in shape alone.
"""

import argparse
import io
import json
import re
import string
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

SIDE_PX = 128
WORK_PX = 2 * SIDE_PX  # treatments are drawn at twice the size
INK = (0x22, 0x22, 0x22)
MAX_PLAIN, MAX_TREATED, MIN_IMAGES = 150, 60, 24  # images of a family
FREE_LICENSES = re.compile(
    r"MIT|Apache-2.0|ISC|BSD-\d-Clause|CC0-1.0|CC-BY-\d\.0|OFL-1.1|Unlicense"
)
EXCLUDED_CATEGORIES = ("Logos", "Flags / Maps")  # many designers, no common style
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Drawings of one style: `drawings` maps a content to SVG markup or to a letter."""

    style_id: str
    group: str
    license: str
    source: str
    drawings: dict[str, str]
    font: Path | None = None
    treatment: int | None = None  # seed; None: as designed

    @property
    def is_mono(self) -> bool:
        """Whether everything is drawn in the text colour."""
        return self.font is not None or all("currentColor" in d for d in self.drawings.values())


def icon_families(package: Path, excluded: set[str]) -> Iterator[Family]:
    """The free sets of the package, one family for each variant."""
    collections = json.loads((package / "collections.json").read_text())
    for prefix, about in collections.items():
        spdx = about["license"].get("spdx", "")
        if (
            prefix in excluded
            or not FREE_LICENSES.fullmatch(spdx)
            or about.get("category") in EXCLUDED_CATEGORIES
        ):
            continue
        icon_set = json.loads((package / "json" / f"{prefix}.json").read_text())
        for variant, drawings in variants(icon_set).items():
            yield Family(
                style_id=f"{prefix}-{variant}" if variant else prefix,
                group=prefix.partition("-")[0],
                license=spdx,
                source=f"@iconify/json {prefix}",
                drawings=drawings,
            )


def variants(icon_set: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The drawings of a set by variant, then by content: the name without the variant."""
    suffixes = sorted((e for e in icon_set.get("suffixes", {}) if e), key=len, reverse=True)
    prefixes = sorted((b for b in icon_set.get("prefixes", {}) if b), key=len, reverse=True)
    if not suffixes and not prefixes:
        suffixes = ["outline", "outlined", "line", "fill", "filled", "solid", "bold", "duotone"]
    families: dict[str, dict[str, str]] = {}
    for name, icon in icon_set["icons"].items():
        if icon.get("hidden") or "animate" in icon["body"]:
            continue
        variant, content = "", name
        for suffix in suffixes:
            if name.endswith(f"-{suffix}"):
                variant, content = suffix, name.removesuffix(f"-{suffix}")
                break
        for prefix in prefixes:
            if name.startswith(f"{prefix}-"):
                variant, content = prefix, name.removeprefix(f"{prefix}-")
                break
        families.setdefault(variant, {})[content] = svg_document(icon, icon_set)
    return {
        variant: drawings for variant, drawings in families.items() if len(drawings) >= MIN_IMAGES
    }


def svg_document(icon: dict[str, Any], icon_set: dict[str, Any]) -> str:
    """One icon as an SVG document, its box widened to a square."""
    left, top = (icon.get(key, icon_set.get(key, 0)) for key in ("left", "top"))
    width, height = (icon.get(key, icon_set.get(key, 16)) for key in ("width", "height"))
    side = max(width, height)
    box = f"{left - (side - width) / 2} {top - (side - height) / 2} {side} {side}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        f' width="{WORK_PX}" height="{WORK_PX}" viewBox="{box}">{icon["body"]}</svg>'
    )


def font_families(folder: Path) -> Iterator[Family]:
    """One family for each typeface; siblings (bold, italic) share a group, the file's stem."""
    for path in sorted(folder.rglob("*.ttf")):
        letters = string.ascii_uppercase + string.digits
        yield Family(
            style_id=f"font-{path.stem}",
            group=f"font-{path.stem[:5]}",
            license="fonts-aenigma",
            source=f"fonts-aenigma {path.name}",
            drawings={f"letter-{ord(render_letter)}": render_letter for render_letter in letters},
            font=path,
        )


def sort_by_sharing(families: list[Family]) -> list[Family]:
    """Families with the most widely shared contents first, so that batches share contents."""
    counts = Counter(content for family in families for content in family.drawings)

    def rank(content: str) -> tuple[int, str]:
        return -counts[content], sha256(content.encode()).hexdigest()

    return [
        replace(family, drawings={c: family.drawings[c] for c in sorted(family.drawings, key=rank)})
        for family in families
    ]


def with_contents(families: list[Family], names: set[str]) -> list[Family]:
    """The families with these contents only, without families that have few of them."""
    selected = [
        replace(f, drawings={c: d for c, d in f.drawings.items() if c in names}) for f in families
    ]
    return [family for family in selected if len(family.drawings) >= MIN_IMAGES]


def with_treatments(family: Family, times: int) -> Iterator[Family]:
    """The family as it is, then under `times` treatments."""
    contents = list(family.drawings)
    yield replace(family, drawings={c: family.drawings[c] for c in contents[:MAX_PLAIN]})
    for turn in range(times):
        seed = derive_seed(family.style_id, turn)
        some = np.random.default_rng(seed).permutation(contents[: 4 * MAX_TREATED])[:MAX_TREATED]
        yield replace(
            family,
            style_id=f"{family.style_id}+{turn + 1}",
            drawings={str(c): family.drawings[str(c)] for c in some},
            treatment=seed,
        )


def derive_seed(*what: Any) -> int:
    """A seed that is a function of its purpose."""
    return int.from_bytes(sha256(repr(what).encode()).digest()[:8], "big")


def render_family(family: Family, out: Path) -> list[dict[str, str]]:
    """Writes the family's images and returns their records."""
    paint = make_renderer(family)
    (out / family.style_id).mkdir(parents=True, exist_ok=True)
    records = []
    for content, drawing in family.drawings.items():
        name = f"{family.style_id}/{re.sub(r'[^A-Za-z0-9-]', '_', content)}.png"
        try:
            picture = paint(drawing, derive_seed(family.style_id, content))
        except (ValueError, OSError):  # markup that the renderer rejects
            continue
        if np.ptp(np.asarray(picture)) < 32:  # nothing was drawn
            continue
        picture.save(out / name)
        records.append(
            {
                "file_name": name,
                "style_id": family.style_id,
                "content": content,
                "group": family.group,
                "license": family.license,
                "source": family.source,
            }
        )
    return records if len(records) >= MIN_IMAGES else []


def make_renderer(family: Family) -> Callable[[str, int], Image.Image]:
    """The function from a drawing and a seed to the image, for one family."""
    if family.treatment is None:
        return lambda drawing, seed: downscale(render(family, drawing))
    rng = np.random.default_rng(family.treatment)
    if not family.is_mono:
        recolor = color_treatment(rng)
        return lambda drawing, seed: recolor(downscale(render(family, drawing)))
    restroke = stroke_treatment(rng)
    is_stroked = sum('stroke-width="' in d for d in family.drawings.values()) > 0.9 * len(
        family.drawings
    )
    reshape = shape_treatment(rng) if not is_stroked or rng.random() < 0.4 else None
    compose = paint_treatment(rng)

    def picture(drawing: str, seed: int) -> Image.Image:
        restroked = restroke(drawing) if is_stroked else drawing
        ink = 1 - np.asarray(render(family, restroked).convert("L"), np.float32) / 255
        ink = np.clip(ink * 255 / (255 - INK[0]), 0, 1)
        if reshape is not None:
            ink = reshape(ink, np.random.default_rng(seed))
        return downscale(Image.fromarray((255 * compose(ink)).round().astype(np.uint8)))

    return picture


def render(family: Family, drawing: str) -> Image.Image:
    """The drawing on white, WORK_PX wide and high."""
    if family.font is not None:
        return render_letter(family.font, drawing)
    svg = drawing.replace("currentColor", f"#{bytes(INK).hex()}")
    png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGB")


def render_letter(font: Path, drawing: str) -> Image.Image:
    """A centered letter; all letters of a typeface have one size."""
    face = ImageFont.truetype(font, round(0.72 * WORK_PX))
    canvas = Image.new("RGB", (WORK_PX, WORK_PX), "white")
    left, top, right, bottom = face.getbbox(drawing)
    if max(right - left, bottom - top) > WORK_PX:
        raise ValueError("wider than the sheet")
    position = ((WORK_PX - left - right) / 2, (WORK_PX - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(position, drawing, fill=INK, font=face)
    return canvas


def downscale(picture: Image.Image) -> Image.Image:
    return picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)


def stroke_treatment(rng: np.random.Generator) -> Callable[[str], str]:
    """Changes the width, ends and corners of strokes."""
    factor = float(rng.choice([0.4, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2]))
    ends, corners = [("round", "round"), ("butt", "miter"), ("square", "bevel")][rng.integers(3)]

    def restroke(svg: str) -> str:
        svg = re.sub(
            r'stroke-width="([\d.]+)"',
            lambda families: f'stroke-width="{float(families[1]) * factor:.3f}"',
            svg,
        )
        svg = re.sub(r' stroke-line(cap|join)="[a-z]+"', "", svg)
        kinds = f'stroke-linecap="{ends}" stroke-linejoin="{corners}"'
        return svg.replace("stroke-width=", f"{kinds} stroke-width=")

    return restroke


def shape_treatment(rng: np.random.Generator) -> Callable[[Array, np.random.Generator], Array]:
    """Makes ink thicker, thinner, rounder, outlined, pixelated, striped or distorted."""
    kind = rng.choice(
        ["thicker", "thinner", "rounder", "outlined", "double", "pixels", "stripes", "shaken"]
    )
    width_px = float(rng.uniform(2, 6))
    cells = int(rng.choice([14, 16, 20, 24, 32]))
    period_px, slant = float(rng.uniform(8, 20)), float(rng.uniform(0, np.pi))
    reach_px = float(rng.uniform(2, 6))

    def reshape(ink: Array, own: np.random.Generator) -> Array:
        if kind == "pixels":
            step = WORK_PX / cells
            rows = ((np.arange(cells) + 0.5) * step).astype(int)
            coarse = ndimage.uniform_filter(ink, step)[np.ix_(rows, rows)] > 0.45
            back = (np.arange(WORK_PX) / step).astype(int)
            return coarse[np.ix_(back, back)].astype(np.float32)
        if kind == "shaken":
            noise = ndimage.gaussian_filter(own.normal(size=(2, *ink.shape)), (0, 12, 12))
            shift = noise / noise.std() * reach_px
            return ndimage.map_coordinates(ink, np.indices(ink.shape) + shift, order=1)
        if kind == "rounder":
            return np.clip((ndimage.gaussian_filter(ink, 2 * width_px) - 0.5) * 6 + 0.5, 0, 1)
        depth = signed_distance(ink)  # px, positive inside
        if kind == "thicker":
            return np.clip(depth + width_px + 0.5, 0, 1)
        if kind == "thinner":
            thin = np.clip(depth - width_px / 2 + 0.5, 0, 1)
            return np.maximum(thin, ink * (ndimage.maximum_filter(depth, 15) < width_px / 2 + 1))
        if kind == "outlined":
            return np.clip(width_px / 1.5 - np.abs(depth) + 0.5, 0, 1)
        if kind == "double":
            return np.maximum(ink, np.clip(1.5 - np.abs(depth + 2 * width_px) + 0.5, 0, 1))
        y, x = np.indices(ink.shape)
        wave = np.sin((x * np.cos(slant) + y * np.sin(slant)) * 2 * np.pi / period_px)
        edge = np.clip(2.0 - np.abs(depth) + 0.5, 0, 1)
        return np.maximum(edge, ink * np.clip(wave * 3 + 0.5, 0, 1))

    return reshape


def signed_distance(ink: Array) -> Array:
    """Distance to the outline in pixels: positive inside, negative outside."""
    inside = ink > 0.5
    depth: Array = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    return depth.astype(np.float32)


def paint_treatment(rng: np.random.Generator) -> Callable[[Array], Array]:
    """Ink (h, w) in [0, 1] to an image (h, w, 3) in [0, 1]; most often plain ink on white."""
    kind = rng.choice(
        ["plain", "color", "fill", "graded", "relief", "tile", "disc", "shadow"],
        p=[0.5, 0.06, 0.12, 0.06, 0.08, 0.06, 0.06, 0.06],
    )
    scale = float(rng.choice([1.0, 1.0, 1.0, 0.85, 0.7]))
    dark, other, light = (
        random_color(rng, 0.25, 0.7),
        random_color(rng, 0.3, 0.9),
        random_color(rng, 0.75, 0.95),
    )
    if rng.random() < 0.5:
        dark, light = np.array(INK) / 255, np.full(3, rng.uniform(0.6, 0.9))
    corner_px = float(rng.uniform(0, 0.25)) * WORK_PX

    def compose(ink: Array) -> Array:
        if kind in ("tile", "disc"):
            ink = shrink(ink, 0.6)
        elif scale < 1:
            ink = shrink(ink, scale)
        white = np.ones((*ink.shape, 3), np.float32)
        down = np.linspace(0, 1, WORK_PX)[:, None, None]
        if kind == "color":
            return blend(white, ink, dark)
        if kind == "fill":
            inner = ndimage.binary_fill_holes(ink > 0.5).astype(np.float32)
            return blend(blend(white, inner, light), ink, dark)
        if kind == "graded":
            return blend(white, ink, (1 - down) * dark + down * other)
        if kind == "relief":
            height = ndimage.gaussian_filter(np.minimum(signed_distance(ink), 12), 1.5)
            slope = np.gradient(height)
            lit = np.clip(0.5 - 0.35 * (slope[0] + slope[1]), 0, 1)[..., None]
            return blend(white, ink, np.clip(other * (0.4 + 0.9 * lit) + 0.4 * (lit - 0.6), 0, 1))
        if kind in ("tile", "disc"):
            ground = (1 - 0.35 * down) * other
            return blend(blend(white, backdrop(kind, corner_px), ground), ink, np.ones(3))
        if kind == "shadow":
            below = np.roll(ndimage.gaussian_filter(ink, 5), (10, 6), (0, 1)) * 0.5
            return blend(blend(white, below, np.zeros(3)), ink, dark)
        return blend(white, ink, np.array(INK) / 255)

    return compose


def color_treatment(rng: np.random.Generator) -> Callable[[Image.Image], Image.Image]:
    """Changes hue, saturation, number of shades, darkness or size of a coloured image."""
    kind = rng.choice(["hue", "pale", "grey", "shades", "dark", "smaller"])
    turn = int(rng.integers(40, 216))
    steps = int(rng.integers(2, 4))
    amount = float(rng.uniform(0.35, 0.65))

    def recolor(picture: Image.Image) -> Image.Image:
        pixels = np.asarray(picture, np.float32) / 255
        if kind == "hue":
            hue, saturation, value = picture.convert("HSV").split()
            shifted = hue.point(lambda h: (h + turn) % 256)
            return Image.merge("HSV", (shifted, saturation, value)).convert("RGB")
        if kind == "pale":
            pixels = 1 - amount * (1 - pixels)
        elif kind == "grey":
            pixels = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
        elif kind == "shades":
            pixels = np.round(pixels * steps) / steps
        elif kind == "dark":
            is_ground = (pixels.min(axis=2, keepdims=True) > 0.98).astype(np.float32)
            pixels = is_ground * pixels + (1 - is_ground) * pixels * amount
        else:
            small = picture.resize((round(SIDE_PX * (0.4 + amount)),) * 2, Image.Resampling.BOX)
            canvas = Image.new("RGB", picture.size, "white")
            canvas.paste(small, ((SIDE_PX - small.width) // 2,) * 2)
            return canvas
        return Image.fromarray((255 * pixels).round().astype(np.uint8))

    return recolor


def blend(ground: Array, cover: Array, color: Array) -> Array:
    """`color` painted over `ground` (h, w, 3) where `cover` (h, w) is 1."""
    blended: Array = ground + cover[..., None] * (color - ground)
    return blended


def shrink(ink: Array, scale: float) -> Array:
    """The ink scaled by `scale` and centered."""
    side_px = round(WORK_PX * scale)
    small = Image.fromarray(ink).resize((side_px, side_px), Image.Resampling.BOX)
    canvas = np.zeros_like(ink)
    start = (WORK_PX - side_px) // 2
    canvas[start : start + side_px, start : start + side_px] = np.asarray(small)
    return canvas


def backdrop(kind: str, corner_px: float) -> Array:
    """A rounded square or a disc (h, w) in [0, 1]."""
    canvas = Image.new("L", (WORK_PX, WORK_PX))
    box = (8, 8, WORK_PX - 9, WORK_PX - 9)
    radius_px = WORK_PX / 2 if kind == "disc" else corner_px
    ImageDraw.Draw(canvas).rounded_rectangle(box, radius_px, fill=255)
    return np.asarray(canvas, np.float32) / 255


def random_color(rng: np.random.Generator, darkest: float, lightest: float) -> Array:
    """A random saturated colour, (3,) in [0, 1]."""
    hue, value = rng.random(), rng.uniform(darkest, lightest)
    wheel = np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1
    complement = 1 - np.clip(wheel, 0, 1)  # of each primary in the pure hue
    if darkest > 0.5:
        return np.asarray(1 - (1 - value) * complement)
    return np.asarray(value * (1 - rng.uniform(0.5, 1) * complement))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--iconify", type=Path, required=True, help="unpacked @iconify/json")
    parser.add_argument("--fonts", type=Path, help="folder of .ttf")
    parser.add_argument("--exclude", default="", help="sets to leave out, separated by commas")
    parser.add_argument("--treatments", type=int, default=2, help="of each family of icons")
    parser.add_argument("--most", type=int, help="sets of icons, and typefaces, for a trial")
    parser.add_argument("--contents", help="names of what is drawn, separated by commas")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    excluded = set(args.exclude.split(","))
    icons = sort_by_sharing(list(icon_families(args.iconify, excluded))[: args.most])
    if args.contents:
        icons = with_contents(icons, set(args.contents.split(",")))
    families = [f for family in icons for f in with_treatments(family, args.treatments)]
    if args.fonts:
        for family in list(font_families(args.fonts))[: args.most]:
            families += list(with_treatments(family, 0))
    with (
        ProcessPoolExecutor(args.jobs) as pool,
        (args.out / "metadata.jsonl").open("w") as collections,
    ):
        for records in pool.map(partial(render_family, out=args.out), families, chunksize=4):
            collections.writelines(json.dumps(record) + "\n" for record in records)


if __name__ == "__main__":
    main()
