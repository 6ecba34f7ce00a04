"""The weighed sum of both terms: its gradient is the sum of theirs, with prompts by style."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from megastyle_cli.training.encoder.losses import image_text, style_contrast
from megastyle_cli.training.encoder.objective import Objective
from megastyle_cli.training.encoder.prompts import TextSide

CPU = torch.device("cpu")
STYLES = torch.tensor([3, 3, 0, 0, 5])


@pytest.fixture
def z():
    return functional.normalize(torch.randn(5, 6, generator=torch.manual_seed(1)))


@pytest.fixture
def text():
    rows = torch.randn(7, 6, generator=torch.manual_seed(2))
    vectors = functional.normalize(rows).numpy().astype(np.float32)
    return TextSide(vectors=vectors, own=np.arange(7), scale=9.0, bias=-4.0, name="drawn")


def test_the_gradient_is_the_weighed_sum_over_the_prompts_of_the_batch(z, text):
    objective = Objective(0.2, 0.7, text, CPU)

    gradient = objective(z, STYLES)

    contrast = style_contrast(z, STYLES, 0.2)
    own = torch.tensor([1, 1, 0, 0, 2])  # of the styles 0, 3 and 5, which are in the batch
    agreement = image_text(z, torch.from_numpy(text.vectors)[[0, 3, 5]], own, 9.0, -4.0)
    assert torch.allclose(gradient, contrast.gradient + 0.7 * agreement.gradient)
    losses = objective.losses
    assert losses["style_loss"] == float(contrast.loss)
    assert losses["text_loss"] == float(agreement.loss)
    assert losses["loss"] == pytest.approx(losses["style_loss"] + 0.7 * losses["text_loss"])
    assert losses["without_positive"] == pytest.approx(1 / 5)


def test_a_style_under_two_ids_with_one_prompt_has_the_text_term_of_one_id(z, text):
    shared = replace(text, own=np.array([0, 1, 2, 3, 4, 5, 3]))  # the style 6 has the prompt of 3
    one, two = Objective(0.2, 0.7, shared, CPU), Objective(0.2, 0.7, shared, CPU)

    one(z, torch.tensor([3, 3, 0, 0, 5]))
    two(z, torch.tensor([3, 6, 0, 0, 5]))

    assert one.losses["text_loss"] == two.losses["text_loss"]
    assert one.losses["style_loss"] != two.losses["style_loss"]


def test_without_a_text_side_it_is_the_contrast_alone(z):
    objective = Objective(0.2, 0.0, None, CPU)

    gradient = objective(z, STYLES)

    assert torch.equal(gradient, style_contrast(z, STYLES, 0.2).gradient)
    assert "text_loss" not in objective.losses
