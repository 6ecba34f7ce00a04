"""Filters for generated images: blank, unsafe, inconsistent with their style, or duplicate.

A filter looks at one image, or at all images of one style, and never at the rest of the batch, so
its verdict does not depend on order or batch size. The exception is the duplicate filter, which
keeps the first of several duplicates in output order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import Record, is_context_only
from megastyle_cli.models.protocols import PictureRequest, SafetyClassifier, StyleEncoder

if TYPE_CHECKING:
    from PIL.Image import Image

    from megastyle_cli.io.writers.rejects_file import ImageHashFile

Array = np.ndarray[Any, np.dtype[Any]]

MIN_CONTRAST = 4.0  # standard deviation, of 255 levels: a blank page with one word on it has 10
HASH_SIDE = 16  # 16 x 16 differences: 256 bits
MAX_DISTANCE_BITS = 8  # of 256: the effect of another format, another size or one level of light
CACHED_REFERENCES = 4096


class Candidate(NamedTuple):
    """A generated image with the record and the request it was generated for."""

    record: Record
    request: PictureRequest
    image: Image


class Rejection(NamedTuple):
    """Why an image is rejected, and the score that decided it."""

    reason: str
    score: float


class Filter(Protocol):
    """Decides which images are rejected; `judges_groups` if it compares those of a style."""

    judges_groups: bool

    def check(self, candidates: Sequence[Candidate]) -> Sequence[Rejection | None]:
        """A Rejection for each candidate, or None if it passes; in order."""


def first_rejections(
    candidates: Sequence[Candidate], filters: Iterable[Filter]
) -> list[Rejection | None]:
    """The first rejection of each candidate; a filter sees only what the ones before it passed."""
    rejections: list[Rejection | None] = [None] * len(candidates)
    for image_filter in filters:
        passed = [row for row, rejection in enumerate(rejections) if rejection is None]
        if not passed:
            break
        checked = image_filter.check([candidates[row] for row in passed])
        for row, rejection in zip(passed, checked, strict=True):
            rejections[row] = rejection
    return rejections


class BlankFilter:
    """Rejects images of (almost) a single colour: contrast below MIN_CONTRAST (ours)."""

    judges_groups = False

    def check(self, candidates: Sequence[Candidate]) -> list[Rejection | None]:
        """A Rejection for each blank candidate; its score is the contrast."""
        contrasts = [contrast(candidate.image) for candidate in candidates]
        return [Rejection("blank", round(c, 3)) if c < MIN_CONTRAST else None for c in contrasts]


def contrast(image: Image) -> float:
    """The largest standard deviation of a colour channel, in [0, 127.5]."""
    return float(np.asarray(image).std(axis=(0, 1)).max())


class UnsafeFilter:
    """Rejects images whose probability of being unsafe is above `max_probability`."""

    judges_groups = False

    def __init__(self, classifier: SafetyClassifier, max_probability: float) -> None:
        self.classifier, self.max_probability = classifier, max_probability

    def check(self, candidates: Sequence[Candidate]) -> list[Rejection | None]:
        """A Rejection for each unsafe candidate; its score is the probability."""
        scores = self.classifier.unsafe([candidate.image for candidate in candidates])
        return [
            Rejection("nsfw", round(s, 4)) if s > self.max_probability else None for s in scores
        ]


def style_key(record: Record) -> str:
    """What identifies a record's style: its id, else its text, its image; else the record's id."""
    keys = ("style_id", "style", "style_file_name", "id")
    return next(str(value) for key in keys if (value := record.get(key)) not in (None, ""))


class ConsistencyFilter:
    """Rejects images whose mean cosine with the other images of their style is below `min_score`.

    The others are those of the same style in one call of `check` (so callers pass each style
    whole) that the filters before this one passed. An image without others passes. Images are
    embedded at a longer side of `side_px`. The expected score does not depend on the number of
    others.
    """

    judges_groups = True

    def __init__(self, encoder: StyleEncoder, min_score: float, side_px: int | None) -> None:
        self.encoder, self.min_score, self.side_px = encoder, min_score, side_px

    def check(self, candidates: Sequence[Candidate]) -> list[Rejection | None]:
        """A Rejection for each inconsistent candidate; its score is the mean cosine."""
        embeddings = self.encoder.embed(
            [_shrunk(candidate.image, self.side_px) for candidate in candidates]
        )  # (n, d)
        members: dict[str, list[int]] = {}
        for row, candidate in enumerate(candidates):
            members.setdefault(style_key(candidate.record), []).append(row)
        rejections: list[Rejection | None] = [None] * len(candidates)
        for rows in members.values():
            for row, score in zip(rows, _mean_cosines(embeddings[rows]), strict=True):
                if len(rows) > 1 and score < self.min_score:
                    rejections[row] = Rejection("style", round(score, 4))
        return rejections


def _mean_cosines(embeddings: Array) -> list[float]:
    """The mean cosine of each unit row (n, d) with the n - 1 others; 0 if there are none."""
    cosines = embeddings.astype(np.float64) @ embeddings.astype(np.float64).T  # (n, n)
    np.fill_diagonal(cosines, 0.0)
    means: list[float] = (cosines.sum(axis=1) / max(1, len(embeddings) - 1)).tolist()
    return means


class ReferenceFilter:
    """Rejects images whose cosine with their style reference is below `min_score`.

    The cosine is what eval calls style_score. Images are embedded at a longer side of `side_px`,
    or at their own size if it is None. Embeddings of the last references are cached.
    """

    judges_groups = False

    def __init__(self, encoder: StyleEncoder, min_score: float, side_px: int | None) -> None:
        self.encoder, self.min_score, self.side_px = encoder, min_score, side_px
        self._references: dict[str, Array] = {}

    def check(self, candidates: Sequence[Candidate]) -> list[Rejection | None]:
        """A Rejection for each candidate unlike its reference; its score is the cosine."""
        embeddings = self.encoder.embed(
            [_shrunk(candidate.image, self.side_px) for candidate in candidates]
        )  # (n, d)
        scores = [
            float(embedding @ self._reference(candidate.request))
            for embedding, candidate in zip(embeddings, candidates, strict=True)
        ]
        return [Rejection("style", round(s, 4)) if s < self.min_score else None for s in scores]

    def _reference(self, request: PictureRequest) -> Array:
        key = request.reference_keys[0]
        if key not in self._references:
            if len(self._references) == CACHED_REFERENCES:
                self._references.pop(next(iter(self._references)))
            image = _shrunk(request.references[0], self.side_px)
            self._references[key] = self.encoder.embed([image])[0]
        return self._references[key]


class DuplicateImageFilter:
    """Rejects images that look like an earlier one, by difference hash.

    `hash_file` brings the hashes of a resumed output and takes that of each image that passes. The
    score is the share of equal bits.
    """

    judges_groups = False

    def __init__(self, hash_file: ImageHashFile) -> None:
        self._hash_file = hash_file
        self._count = count = len(hash_file.hashes)
        self._hashes = np.zeros((max(64, 2 * count), HASH_SIDE**2 // 8), np.uint8)
        for row, known in zip(self._hashes, hash_file.hashes, strict=False):
            try:
                row[:] = np.frombuffer(bytes.fromhex(known), np.uint8)
            except ValueError:
                raise MegastyleError(
                    f"{hash_file.path} is damaged: {known!r} is not an image hash",
                    hint="restore it from a backup, or add --overwrite to start again",
                ) from None

    def check(self, candidates: Sequence[Candidate]) -> list[Rejection | None]:
        """A Rejection for each duplicate, in order: the first of several passes."""
        return [
            None if is_context_only(candidate.record) else self._check_one(candidate)
            for candidate in candidates
        ]

    def _check_one(self, candidate: Candidate) -> Rejection | None:
        bits = difference_hash(candidate.image)
        if self._count:
            distance = np.bitwise_count(self._hashes[: self._count] ^ bits).sum(axis=1).min()
            if distance <= MAX_DISTANCE_BITS:
                return Rejection("duplicate", round(1 - float(distance) / HASH_SIDE**2, 4))
        if self._count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[self._count] = bits
        self._count += 1
        self._hash_file.add(candidate.record["id"], bits.tobytes().hex())
        return None


def difference_hash(image: Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """256 bits (32 bytes): whether each cell of a 16 x 16 grid is darker than its right one."""
    small = image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), 4)  # 4: box average
    gray = np.asarray(small, np.int16)
    return np.packbits(gray[:, 1:] > gray[:, :-1])


def _shrunk(image: Image, side_px: int | None) -> Image:
    longer_px = max(image.size)
    if side_px is None or longer_px <= side_px:
        return image
    width, height = (max(1, round(side * side_px / longer_px)) for side in image.size)
    return image.resize((width, height), 3)  # 3: bicubic, as images are decoded
