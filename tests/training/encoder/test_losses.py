"""The loss equals a naive double loop and its gradient autograd's, in one block or many."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from megastyle_cli.training.encoder.losses import (
    EncoderLoss,
    image_text_sigmoid,
    supervised_contrastive,
)
from megastyle_cli.training.encoder.prompt_targets import PromptTargets

CPU = torch.device("cpu")
IN_BATCH = torch.tensor([3, 3, 0, 0, 5])
STYLES = torch.tensor([0, 1, 0, 2, 2, 0, 3, 1, 2, 4, 2])  # styles 3 and 4 have one image


@pytest.fixture
def z():
    draws = torch.randn(len(STYLES), 7, dtype=torch.float64, generator=torch.manual_seed(3))
    return functional.normalize(draws).requires_grad_()


def looped_contrast(z, styles, temperature):
    """The definition, one pair at a time."""
    terms = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if styles[p] == styles[i]]
        if not positives:
            continue
        total = sum((z[i] @ z[a] / temperature).exp() for a in others)
        log_p = [z[i] @ z[p] / temperature - total.log() for p in positives]
        terms.append(-sum(log_p) / len(positives))
    return sum(terms) / len(terms)


def looped_image_text(z, prompts, own, scale, bias):
    total = 0.0
    for i in range(len(z)):
        for j in range(len(prompts)):
            sign = 1 if own[i] == j else -1
            total = total - functional.logsigmoid(sign * (scale * z[i] @ prompts[j] + bias))
    return total / len(z)


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("max_similarities", [2**22, 40, 1])
def test_contrast_equals_the_double_loop_and_autograd(z, temperature, max_similarities):
    expected = looped_contrast(z, STYLES, temperature)
    expected.backward()

    term = supervised_contrastive(z.detach(), STYLES, temperature, max_similarities)

    assert float(term.loss) == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(term.gradient, z.grad, rtol=1e-11, atol=1e-13)
    assert term.share_without_positive == pytest.approx(2 / 11)


def test_the_gradient_includes_each_row_as_a_column_of_others(z):
    # detaching the gathered copies, a common mistake, loses each row's effect as a column
    anchors, copies = z.detach().requires_grad_(), z.detach()
    similar = anchors @ copies.T / 0.1
    similar = similar.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    log_p = similar - similar.logsumexp(1, keepdim=True)
    same = (STYLES[:, None] == STYLES) & ~torch.eye(len(z), dtype=torch.bool)
    valid = same.any(1)
    sums = log_p.masked_fill(~same, 0).sum(1)[valid] / same.sum(1)[valid]
    (-sums.mean()).backward()

    term = supervised_contrastive(z.detach(), STYLES, 0.1)

    # the loss is the same, the gradient is off by a fifth of its norm or more
    assert -sums.mean().item() == pytest.approx(float(term.loss), rel=1e-12)
    assert (anchors.grad - term.gradient).norm() > 0.2 * term.gradient.norm()


def test_a_batch_without_a_positive_has_no_loss_and_no_gradient(z):
    term = supervised_contrastive(z.detach(), torch.arange(len(z)), 0.1)

    assert float(term.loss) == 0 and not term.gradient.any() and term.share_without_positive == 1


def test_identical_images_per_style_have_the_loss_of_the_formula():
    z = functional.one_hot(torch.tensor([0, 0, 1, 1]), 2).double()

    term = supervised_contrastive(z, torch.tensor([0, 0, 1, 1]), 0.5)

    assert float(term.loss) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 2)))


@pytest.mark.parametrize("max_similarities", [2**22, 12, 1])
def test_image_text_equals_the_double_loop_and_autograd(z, max_similarities):
    prompts = functional.normalize(torch.randn(5, 7, dtype=torch.float64))
    expected = looped_image_text(z, prompts, STYLES, 10.0, -4.0)
    expected.backward()

    term = image_text_sigmoid(z.detach(), prompts, STYLES, 10.0, -4.0, max_similarities)

    assert float(term.loss) == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(term.gradient, z.grad, rtol=1e-11, atol=1e-13)


def test_losses_are_exact_even_if_a_launcher_allows_reduced_precision():
    # "medium" means bfloat16 on a CPU that has it, TF32 or less on a GPU
    z = functional.normalize(torch.randn(256, 64, generator=torch.manual_seed(5)))
    styles, prompts = torch.arange(256) // 4, z[::4].flip(0)

    def gradients():
        text = image_text_sigmoid(z, prompts, styles, 10.0, -10.0)
        return supervised_contrastive(z, styles, 0.05).gradient, text.gradient

    exact = gradients()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = gradients()
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)

    assert all(torch.equal(one, other) for one, other in zip(found, exact, strict=True))


def test_losses_stay_in_single_precision(z):
    single = z.detach().float()

    assert supervised_contrastive(single, STYLES, 0.1).gradient.dtype == torch.float32
    assert image_text_sigmoid(single, single[:5], STYLES, 10.0, -4.0).loss.dtype == torch.float32


@pytest.fixture
def embeddings():
    return functional.normalize(torch.randn(5, 6, generator=torch.manual_seed(1)))


@pytest.fixture
def targets():
    rows = torch.randn(7, 6, generator=torch.manual_seed(2))
    vectors = functional.normalize(rows).numpy().astype(np.float32)
    return PromptTargets(vectors=vectors, rows=np.arange(7), scale=9.0, bias=-4.0, name="random")


def test_the_gradient_is_the_weighted_sum_of_both_terms(embeddings, targets):
    loss = EncoderLoss(0.2, 0.7, targets, CPU)

    gradient = loss(embeddings, IN_BATCH)

    contrast = supervised_contrastive(embeddings, IN_BATCH, 0.2)
    own = torch.tensor([1, 1, 0, 0, 2])  # the batch has the styles 0, 3 and 5
    agreement = image_text_sigmoid(
        embeddings, torch.from_numpy(targets.vectors)[[0, 3, 5]], own, 9.0, -4.0
    )
    assert torch.allclose(gradient, contrast.gradient + 0.7 * agreement.gradient)
    values = loss.values
    assert values["style_loss"] == float(contrast.loss)
    assert values["text_loss"] == float(agreement.loss)
    assert values["loss"] == pytest.approx(values["style_loss"] + 0.7 * values["text_loss"])
    assert values["without_positive"] == pytest.approx(1 / 5)


def test_two_styles_with_the_same_prompt_share_a_column(embeddings, targets):
    shared = replace(
        targets, rows=np.array([0, 1, 2, 3, 4, 5, 3])
    )  # style 6 has the prompt of style 3
    one, two = EncoderLoss(0.2, 0.7, shared, CPU), EncoderLoss(0.2, 0.7, shared, CPU)

    one(embeddings, torch.tensor([3, 3, 0, 0, 5]))
    two(embeddings, torch.tensor([3, 6, 0, 0, 5]))

    assert one.values["text_loss"] == two.values["text_loss"]
    assert one.values["style_loss"] != two.values["style_loss"]


def test_without_prompts_the_loss_is_the_contrast_alone(embeddings):
    loss = EncoderLoss(0.2, 0.0, None, CPU)

    gradient = loss(embeddings, IN_BATCH)

    assert torch.equal(gradient, supervised_contrastive(embeddings, IN_BATCH, 0.2).gradient)
    assert "text_loss" not in loss.values
