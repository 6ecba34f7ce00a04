"""CLIP's text score in each of its conventions."""

import numpy as np
import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.paper_protocols.text_measure import text_score
from tests.evaluate.small_set import VECTORS, record, scored_set


class Words:
    """Texts to rows by their length; the logit scale of OpenAI's CLIPs."""

    logit_scale = 100.0

    def embed_texts(self, texts):
        return VECTORS[[len(text) for text in texts]]


def test_the_conversions_of_one_cosine():
    prompts = ["a", "bcd", "a"]
    images = scored_set([record(10 + i, content=each) for i, each in enumerate(prompts)])

    found = text_score(images, Words(), "content", 0)

    cosines = [VECTORS[10 + i] @ VECTORS[len(each)] for i, each in enumerate(prompts)]
    depicted = [VECTORS[10 + i] @ VECTORS[16 + len(each)] for i, each in enumerate(prompts)]
    assert found["cosine"] == pytest.approx(np.mean(cosines), abs=1e-4)
    assert found["value"] == pytest.approx(100 * np.mean(cosines), abs=1e-2)
    assert found["clipscore"] == pytest.approx(np.maximum(depicted, 0).mean() * 2.5, abs=1e-4)
    strangers = [VECTORS[10] @ VECTORS[3], VECTORS[11] @ VECTORS[1], VECTORS[12] @ VECTORS[3]]
    assert found["random"] == pytest.approx(100 * np.mean(strangers), abs=1e-2)
    assert (found["logit_scale"], found["images"]) == (100, 3)


def test_images_without_a_prompt_are_not_counted():
    images = scored_set([record(1, content="a"), record(2), record(3, content=7)])

    assert text_score(images, Words(), "content", 0)["images"] == 1
    with pytest.raises(MegastyleError, match="no image has a prompt under 'caption'"):
        text_score(images, Words(), "caption", 0)
