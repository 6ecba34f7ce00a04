"""Baselines of style retrieval: random vectors, and a histogram of colors."""

import hashlib
from collections.abc import Sequence

import numpy as np
from PIL.Image import Image

from megastyle_cli.compute.engine import parallel_map
from megastyle_cli.models.builtin import histograms
from megastyle_cli.models.builtin.histograms import Array

RANDOM_WIDTH = 64


class RandomEncoder:
    """Unit vectors (n, 64) that know nothing: equal images have equal ones, others are random."""

    name = "random"
    trained_on = ()

    def embed(self, pictures: Sequence[Image]) -> Array:
        """One row per RGB image, drawn by a hash of its pixels."""
        return np.stack([self._vector(picture) for picture in pictures])

    @staticmethod
    def _vector(picture: Image) -> Array:
        digest = hashlib.sha256(f"{picture.width}x{picture.height}".encode() + picture.tobytes())
        seed = np.frombuffer(digest.digest(), "<u4")
        row = np.random.default_rng(seed).normal(size=RANDOM_WIDTH)
        unit: Array = (row / np.linalg.norm(row)).astype(np.float32)
        return unit


class ColorHistogram:
    """Square roots of the shares of lightness, a and b in CIELAB, as unit vectors (n, 192)."""

    name = "colors"
    trained_on = ()

    def embed(self, pictures: Sequence[Image]) -> Array:
        """One row per RGB image; the cosine of two rows is in [0, 1]."""
        return np.stack(parallel_map(self._vector, pictures))

    @staticmethod
    def _vector(picture: Image) -> Array:
        counts = histograms.colors(histograms.lab_thumbnail(picture)).astype(np.float64)
        unit: Array = np.sqrt(counts / counts.sum()).astype(np.float32)
        return unit
