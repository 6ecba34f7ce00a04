"""A drawn pair to its two squares of pixels: the target as it is, the reference augmented.

Both are squashed to the size first, bicubic; then the reference alone is mirrored (p 0.5) and cut
to a square of 80 to 100 % of the area (p 0.5) that is resized back. Source: the official trainer.
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from PIL.Image import Resampling, Transpose

from megastyle_cli.core.errors import TOO_MANY_FAILURES, BadRecord, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.io.images import open_picture
from megastyle_cli.models.flux.vae import resize_image
from megastyle_cli.training.flux.pairs import (
    AREA,
    CROP,
    FLIP,
    LEFT,
    TOP,
    Drawn,
    Draws,
    Pairs,
)

LEAST_AREA = 0.8


@dataclass(kw_only=True)
class Opened:
    """The pictures of a pair at the size of training, its words, and what did not open for it."""

    target: Image.Image
    reference: Image.Image
    content: str
    id: str
    failures: list[Failure] = field(default_factory=list)


def opened(pairs: Pairs, drawn: Drawn, size_px: int, *, augment: bool) -> Opened:
    """The pair, or the next that opens: of its style, else of the styles after it.

    A function of the files alone. Raises MegastyleError if there is none.
    """
    failures: list[Failure] = []
    for step in range(len(pairs)):
        unit = pairs.units[(drawn.unit + step) % len(pairs)].tolist()
        rows = _from(unit, drawn.target) if step == 0 else unit
        first = drawn.reference if step == 0 else None
        found = _opened_of(pairs, rows, first, size_px, failures)
        if found is None:
            continue
        target, reference, row = found
        if augment:
            reference = augmented(reference, drawn.draws)
        return Opened(
            target=target,
            reference=reference,
            content=pairs.contents[row],
            id=pairs.ids[row],
            failures=failures,
        )
    raise MegastyleError(
        f"there is no pair whose pictures can be opened; of {len(failures):,} that cannot, the"
        f" first: {failures[0].message}",
        hint="give pictures that can",
        exit_code=TOO_MANY_FAILURES,
    )


def augmented(reference: Image.Image, draws: Draws) -> Image.Image:
    """A square reference mirrored and cut as its `draws` say; it keeps its size."""
    side = reference.width
    if draws[FLIP] < 0.5:
        reference = reference.transpose(Transpose.FLIP_LEFT_RIGHT)
    if draws[CROP] >= 0.5:
        return reference
    area = LEAST_AREA + (1 - LEAST_AREA) * draws[AREA]
    cut = max(1, round(side * float(np.sqrt(area))))
    left, top = (int(draws[which] * (side - cut + 1)) for which in (LEFT, TOP))
    # cut first: resizing a box would look at the pixels around it
    part = reference.crop((left, top, left + cut, top + cut))
    return part.resize((side, side), Resampling.BICUBIC)


def _opened_of(
    pairs: Pairs, rows: list[int], first: int | None, size_px: int, failures: list[Failure]
) -> tuple[Image.Image, Image.Image, int] | None:
    """The first target of `rows` that opens, a reference for it, `first` if it opens, its row."""

    def picture(row: int, key: str, name: str) -> Image.Image | None:
        try:
            return resize_image(open_picture(name), (size_px, size_px), keep_aspect=False)
        except BadRecord as bad:
            failed = Failure({"id": pairs.ids[row], key: name}, bad.kind, bad.message)
            if failed.message not in {one.message for one in failures}:
                failures.append(failed)
            return None

    for row in rows:
        told = pairs.references[row]
        key = "file_name" if told is None else "target_file_name"
        target = picture(row, key, pairs.targets[row])
        if target is None:
            continue
        if told is not None:
            reference = picture(row, "style_file_name", told)
            if reference is not None:
                return target, reference, row
            continue
        for other in _from([other for other in rows if other != row], first):
            reference = picture(other, "file_name", pairs.targets[other])
            if reference is not None:
                return target, reference, row
    return None


def _from(rows: list[int], first: int | None) -> list[int]:
    """The rows in turn, beginning at `first` if it is among them."""
    at = rows.index(first) if first in rows else 0
    return rows[at:] + rows[:at]
