"""All images of a run and their references as vectors of one model."""

from collections.abc import Iterable, Sequence
from typing import Any

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import PROVENANCE, Failure, Record
from megastyle_cli.evaluate.references import OwnReferences, References, load_references
from megastyle_cli.evaluate.score import STYLE, ScoringModels
from megastyle_cli.evaluate.scored_set import Comparison, ScoredSet
from megastyle_cli.io.images import ImageReader

DECODED_PX = 384  # as `eval` opens images for the builtin encoders


def encode(
    records: Iterable[Record],
    encoder: Any,
    *,
    has_weights: bool,
    label: str,
    references: Sequence[Record],
    others: Sequence[Record],
    pair_by: str | None,
) -> tuple[ScoredSet, list[Failure]]:
    """The images with a vector each, and those that cannot be read.

    Scores that records have from earlier runs are not used. A model with weights of its own is
    given images at full size. Other arguments are as in `ScoringConfig`.
    """
    reader = ImageReader() if has_weights else ImageReader(DECODED_PX)
    models = ScoringModels(style=encoder, reader=reader, full_size_reader=reader)
    known: References = OwnReferences(models.reference_extractors)
    if references:
        known = load_references(
            references, models.reference_extractors, pair_by=pair_by, others=others
        )
    images = ScoredSet(label, models, known)
    fresh = ({**record, "style_score": None, PROVENANCE: {}} for record in records)
    return images, list(images.add(fresh))


def compared(images: ScoredSet) -> Comparison:
    """The images and their references. Raises MegastyleError if no image has one."""
    comparison = images.compare(STYLE)
    if comparison is None:
        raise MegastyleError(
            "no image has a reference",
            hint="give --reference PATH, or records with a style_file_name",
        )
    return comparison
