"""Opens a drawn pair: target and reference as squares, the reference augmented.

Both are resized to the training size first, bicubic; then the reference alone is mirrored (p 0.5)
and cropped to a square of 80 to 100 % of the area (p 0.5) that is resized back. Source: the
official trainer.
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
    Draws,
    PairDraw,
    Pairs,
)

MIN_AREA = 0.8


@dataclass(kw_only=True)
class LoadedPair:
    """The images of a pair at training size, its content, and the images that failed to open."""

    target: Image.Image
    reference: Image.Image
    content: str
    id: str
    failures: list[Failure] = field(default_factory=list)


def load_pair(pairs: Pairs, draw: PairDraw, size_px: int, *, augment: bool) -> LoadedPair:
    """The drawn pair, or the next one that opens: of its style first, then of the styles after it.

    A function of the files alone. Raises MegastyleError if no pair opens.
    """
    images = _ImageReader(pairs, size_px)
    for step in range(len(pairs)):
        unit = pairs.units[(draw.unit + step) % len(pairs)].tolist()
        if step == 0:
            found = images.first_pair(_rotate(unit, draw.target), draw.reference)
        else:
            found = images.first_pair(unit, None)
        if found is not None:
            row, target, reference = found
            return LoadedPair(
                target=target,
                reference=augment_reference(reference, draw.draws) if augment else reference,
                content=pairs.contents[row],
                id=pairs.ids[row],
                failures=images.failures,
            )
    raise MegastyleError(
        f"the images of no pair can be opened; the first of {len(images.failures):,} failures:"
        f" {images.failures[0].message}",
        hint="check the paths of the images",
        exit_code=TOO_MANY_FAILURES,
    )


def augment_reference(reference: Image.Image, draws: Draws) -> Image.Image:
    """A square reference mirrored and cropped according to `draws`; it keeps its size."""
    side = reference.width
    if draws[FLIP] < 0.5:
        reference = reference.transpose(Transpose.FLIP_LEFT_RIGHT)
    if draws[CROP] >= 0.5:
        return reference
    area = MIN_AREA + (1 - MIN_AREA) * draws[AREA]
    crop = max(1, round(side * float(np.sqrt(area))))
    left, top = (int(draws[column] * (side - crop + 1)) for column in (LEFT, TOP))
    # cropped first: `resize(box=...)` would blend in the pixels around the box
    part = reference.crop((left, top, left + crop, top + crop))
    return part.resize((side, side), Resampling.BICUBIC)


class _ImageReader:
    """Opens images of `pairs` at a size, and collects a failure for each that does not open."""

    def __init__(self, pairs: Pairs, size_px: int) -> None:
        self.pairs, self.size = pairs, (size_px, size_px)
        self.failures: list[Failure] = []

    def first_pair(
        self, rows: list[int], first_reference: int | None
    ) -> tuple[int, Image.Image, Image.Image] | None:
        """The first of `rows` with a target and a reference that open, and both; None if none has.

        The reference is the one that the row names, otherwise another of `rows`, the first to be
        tried being `first_reference`.
        """
        for row in rows:
            named = self.pairs.references[row]
            key = "file_name" if named is None else "target_file_name"
            target = self._open(row, key, self.pairs.targets[row])
            if target is None:
                continue
            if named is not None:
                candidates = [(row, "style_file_name", named)]
            else:
                others = _rotate([other for other in rows if other != row], first_reference)
                candidates = [(other, "file_name", self.pairs.targets[other]) for other in others]
            for other, key, name in candidates:
                reference = self._open(other, key, name)
                if reference is not None:
                    return row, target, reference
        return None

    def _open(self, row: int, key: str, name: str) -> Image.Image | None:
        try:
            return resize_image(open_picture(name), self.size, keep_aspect=False)
        except BadRecord as error:
            failure = Failure({"id": self.pairs.ids[row], key: name}, error.kind, error.message)
            if failure.message not in {other.message for other in self.failures}:
                self.failures.append(failure)
            return None


def _rotate(rows: list[int], first: int | None) -> list[int]:
    """The rows in cyclic order, beginning at `first` if it is among them."""
    start = rows.index(first) if first in rows else 0
    return rows[start:] + rows[:start]
