"""The losses equal a naive double loop, their gradients autograd's, in one block or many."""

import math

import pytest
import torch
from torch.nn import functional

from megastyle_cli.training.encoder.losses import image_text, style_contrast

STYLES = torch.tensor([0, 1, 0, 2, 2, 0, 3, 1, 2, 4, 2])  # 3 and 4 are alone


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
@pytest.mark.parametrize("most_cells", [2**22, 40, 1])
def test_style_contrast_equals_the_double_loop_and_autograd(z, temperature, most_cells):
    expected = looped_contrast(z, STYLES, temperature)
    expected.backward()

    term = style_contrast(z.detach(), STYLES, temperature, most_cells)

    assert float(term.loss) == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(term.gradient, z.grad, rtol=1e-11, atol=1e-13)
    assert term.share_left_out == pytest.approx(2 / 11)


def test_the_column_sum_is_part_of_the_gradient(z):
    # detaching the gathered copies, a common mistake, loses what a row does as another's column
    anchors, copies = z.detach().requires_grad_(), z.detach()
    similar = anchors @ copies.T / 0.1
    similar = similar.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    log_p = similar - similar.logsumexp(1, keepdim=True)
    same = (STYLES[:, None] == STYLES) & ~torch.eye(len(z), dtype=torch.bool)
    valid = same.any(1)
    sums = log_p.masked_fill(~same, 0).sum(1)[valid] / same.sum(1)[valid]
    (-sums.mean()).backward()

    term = style_contrast(z.detach(), STYLES, 0.1)

    # as far off as it is long; the loss itself is the same
    assert -sums.mean().item() == pytest.approx(float(term.loss), rel=1e-12)
    assert (anchors.grad - term.gradient).norm() > 0.2 * term.gradient.norm()


def test_a_batch_without_a_positive_has_no_loss_and_no_gradient(z):
    term = style_contrast(z.detach(), torch.arange(len(z)), 0.1)

    assert float(term.loss) == 0 and not term.gradient.any() and term.share_left_out == 1


def test_equal_pictures_of_one_style_among_strangers_have_the_loss_of_the_formula():
    z = functional.one_hot(torch.tensor([0, 0, 1, 1]), 2).double()

    term = style_contrast(z, torch.tensor([0, 0, 1, 1]), 0.5)

    assert float(term.loss) == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 2)))


@pytest.mark.parametrize("most_cells", [2**22, 12, 1])
def test_image_text_equals_the_double_loop_and_autograd(z, most_cells):
    prompts = functional.normalize(torch.randn(5, 7, dtype=torch.float64))
    expected = looped_image_text(z, prompts, STYLES, 10.0, -4.0)
    expected.backward()

    term = image_text(z.detach(), prompts, STYLES, 10.0, -4.0, most_cells)

    assert float(term.loss) == pytest.approx(expected.item(), rel=1e-12)
    assert torch.allclose(term.gradient, z.grad, rtol=1e-11, atol=1e-13)


def test_losses_are_exact_where_a_launcher_allows_rounded_products():
    # "medium" is bfloat16 on a CPU that has it, TF32 or less on a GPU
    z = functional.normalize(torch.randn(256, 64, generator=torch.manual_seed(5)))
    styles, prompts = torch.arange(256) // 4, z[::4].flip(0)

    def gradients():
        text = image_text(z, prompts, styles, 10.0, -10.0)
        return style_contrast(z, styles, 0.05).gradient, text.gradient

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

    assert style_contrast(single, STYLES, 0.1).gradient.dtype == torch.float32
    assert image_text(single, single[:5], STYLES, 10.0, -4.0).loss.dtype == torch.float32
