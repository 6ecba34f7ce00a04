"""Does a fit of the builtin encoder help on families and paintings that it has not seen?

Run: python benchmarks/style_fit.py PICTURES RENDERINGS [--unseen FOLDER]
       [--works FOLDER --photographs FOLDER]
PICTURES and RENDERINGS are those of examples/style_discriminants.py. The training families are cut
into four parts by design group; each is searched in itself by fits on the freely licensed families
of the other three: among pictures of other contents (G1), and among all others (G2). UNSEEN holds
renderings of other paintings, which are searched for their painting, also in grey, and in grey of
equally frequent lightnesses. WORKS holds
paintings with metadata.jsonl (file_name, school, and rendered_as: the style_id of its renderings,
if there are any); each is searched among the others and the photographs by fits on no renderings
of its school. The schools of one work are left out of "same school first".
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ImageOps

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from style_discriminants import (  # noqa: E402
    CONTENT_WEIGHT,
    RENDERINGS_SHARE,
    Painted,
    describe_all,
    fit,
    in_grey,
    read_records,
)
from style_whitening import free_families  # noqa: E402

from megastyle_cli.evaluate.metrics import bootstrap_interval, query_scores  # noqa: E402

# n pictures, d width of the descriptor, w of the projection
Array = np.ndarray[Any, np.dtype[Any]]
NUM_HISTOGRAMS = 1788  # numbers of a descriptor before those of the network
FOLDS = 4
PHOTOGRAPH = ""
BY_CSLS = ("G1 CSLS mAP@1", "G1 CSLS mAP@10")
IMAGES = {".jpg", ".jpeg", ".png", ".webp"}
MODES = {
    "in color": None,
    "in grey": in_grey,
    "equalized": lambda picture: in_grey(ImageOps.equalize(picture.convert("L"))),
}
out = sys.stdout.write


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a fit is made from: the numbers of a descriptor, and how scatter in styles counts."""

    width: int | None = None  # the first numbers of a descriptor; None: all
    share: float = 0.0
    content_weight: float = 1.0

    def fit(self, icons: Array, records: Sequence[dict[str, Any]], painted: Painted) -> Any:
        """A function from descriptors (n, d) to style vectors (n, w)."""
        painted = Painted(painted.rows[:, : self.width], painted.styles, painted.contents)
        middle, projection = fit(
            icons[:, : self.width],
            records,
            painted,
            share=self.share,
            content_weight=self.content_weight,
        )

        def embed(rows: Array) -> Array:
            vectors = (rows[:, : self.width] - middle) @ projection
            unit: Array = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            return unit.astype(np.float32)

        return embed


RECIPES = {
    "histograms (`whitened`)": Recipe(width=NUM_HISTOGRAMS),
    "and the network": Recipe(),
    "and renderings (`builtin`)": Recipe(share=RENDERINGS_SHARE, content_weight=CONTENT_WEIGHT),
}


def scores(rows: Array, records: Sequence[dict[str, Any]]) -> list[float]:
    """G1 mAP@1, G1 mAP@10, G2 mAP@1, the share with the same content first, and the first two
    ranked by CSLS; percent."""
    labels = [record["style_id"] for record in records]
    contents = [record["content"] for record in records]
    _, others = query_scores(rows, labels, contents, exclude_same_content=True, csls=True)
    _, everything = query_scores(rows, labels, contents, exclude_same_content=False)
    found = others["recall_1"], others["map_10"]
    found += everything["recall_1"], everything["same_content_1"]
    found += others["csls_recall_1"], others["csls_map_10"]
    return [100 * float(values.mean()) for values in found]


def validate(
    recipe: Recipe, rows: Array, records: list[dict[str, Any]], painted: Painted
) -> list[float]:
    """The mean of `scores` over FOLDS parts of the families."""
    groups = sorted({record["group"] for record in records})
    part_of = dict(zip(groups, np.random.default_rng(0).permutation(len(groups)), strict=True))
    parts = np.array([part_of[record["group"]] % FOLDS for record in records])
    free = {id(record) for record in free_families(records)}
    is_free = np.array([id(record) in free for record in records])
    found = []
    for part in range(FOLDS):
        inside, fitted = parts == part, (parts != part) & is_free
        embed = recipe.fit(rows[fitted], pick(records, fitted), painted)
        found.append(scores(embed(rows[inside]), pick(records, inside)))
    return [float(mean) for mean in np.mean(found, axis=0)]


def pick(records: Sequence[dict[str, Any]], chosen: Array) -> list[dict[str, Any]]:
    """The records at which `chosen` (n,) is True."""
    return [record for record, is_chosen in zip(records, chosen, strict=True) if is_chosen]


def search_works(
    recipe: Recipe,
    icons: Array,
    records: list[dict[str, Any]],
    painted: Painted,
    works: list[dict[str, Any]],
    gallery: Array,
) -> tuple[Array, Array, Array]:
    """For each work, if a photograph and if a work of its school is first, and the average
    precision of the school, which has others. `gallery` (n, d) begins with the works."""
    schools = np.array([work["school"] for work in works] + [PHOTOGRAPH] * len(gallery))
    schools = schools[: len(gallery)]
    photograph, same, precision = [], [], []
    for school in sorted({work["school"] for work in works}):
        known = {work.get("rendered_as") for work in works if work["school"] == school}
        embed = recipe.fit(icons, records, painted.without(known))
        vectors = embed(gallery)
        for row in np.flatnonzero(schools == school):
            cosines = vectors @ vectors[row]
            cosines[row] = -np.inf
            order = np.argsort(-cosines, kind="stable")[:-1]
            hit = schools[order] == school
            photograph.append(schools[order[0]] == PHOTOGRAPH)
            if hit.any():
                same.append(hit[0])
                precision.append((hit.cumsum() / np.arange(1, len(hit) + 1))[hit].mean())
    return np.array(photograph), np.array(same), np.array(precision)


def table(title: str, columns: Sequence[str], lines: dict[str, list[float]]) -> None:
    out(f"\n{title}\n\n| fit | {' | '.join(columns)} |\n|{' --- |' * (1 + len(columns))}\n")
    for name, values in lines.items():
        out(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("renderings", type=Path)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--works", type=Path)
    parser.add_argument("--photographs", type=Path)
    args = parser.parse_args()
    records = read_records(args.pictures)
    rows = describe_all([args.pictures / record["file_name"] for record in records])
    painted = Painted.of(args.renderings)
    is_train = np.array([record["split"] == "train" for record in records])
    train, held_out = pick(records, is_train), pick(records, ~is_train)
    columns = ("G1 mAP@1", "G1 mAP@10", "G2 mAP@1", "same content first", *BY_CSLS)
    found = {
        name: validate(recipe, rows[is_train], train, painted) for name, recipe in RECIPES.items()
    }
    table("four-fold cross-validation over the training families", columns, found)
    free = {id(record) for record in free_families(records)}
    is_fitted = np.array([id(record) in free for record in records])
    icons, fitted = rows[is_fitted], pick(records, is_fitted)
    found = {
        name: scores(recipe.fit(icons, fitted, painted)(rows[~is_train]), held_out)
        for name, recipe in RECIPES.items()
    }
    table("families held out from all choices", columns, found)
    if args.unseen:
        unseen = read_records(args.unseen)
        paths = [args.unseen / record["file_name"] for record in unseen]
        for mode, change in MODES.items():
            painted_rows = describe_all(paths, change)
            found = {
                name: scores(recipe.fit(icons, fitted, painted)(painted_rows), unseen)
                for name, recipe in RECIPES.items()
            }
            table(f"renderings of other paintings, {mode}", columns, found)
    if args.works:
        works = read_records(args.works)
        paths = [args.works / work["file_name"] for work in works]
        paths += sorted(p for p in args.photographs.rglob("*") if p.suffix.lower() in IMAGES)
        gallery = describe_all(paths)
        searched = [
            search_works(recipe, icons, fitted, painted, works, gallery)
            for recipe in RECIPES.values()
        ]
        title = f"{len(works)} works among {len(paths) - len(works)} photographs"
        columns = ("photograph first", "same school first", "mAP of the school")
        means = [[100 * float(values.mean()) for values in each] for each in searched]
        table(title, columns, dict(zip(RECIPES, means, strict=True)))
        for name, (_, _, precision) in zip(RECIPES, searched, strict=True):
            gain = 100 * (precision - searched[0][2])
            low, high = bootstrap_interval(gain[:, None])
            out(f"mAP, {name}: {gain.mean():+.1f} [{low:+.1f}, {high:+.1f}] by resampling works\n")


if __name__ == "__main__":
    main()
