"""Optimizers: betas, weight decay groups, moments, 8-bit AdamW, and the learning rate schedule."""

import sys

import pytest
import torch
from torch import nn
from transformers import SiglipVisionConfig

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.encoders.siglip_vision import new_tower
from megastyle_cli.training.common.optimizer import (
    MOMENT_BYTES,
    build_optimizer,
    learning_rate,
)
from megastyle_cli.training.encoder.config import EncoderConfig
from megastyle_cli.training.flux.config import FluxConfig

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}


def config(optimizer="adamw", **changed):
    kind = FluxConfig if optimizer == "adamw8bit" else EncoderConfig
    return kind(**{"optimizer": optimizer, "lr": 0.01, "weight_decay": 0.1, **changed})


def build(module, optimizer, **changed):
    return build_optimizer(module, config(optimizer, **changed), betas=(0.8, 0.9), fused=False)


@pytest.fixture
def vision():
    return new_tower(SiglipVisionConfig(**SIZE, num_attention_heads=2, patch_size=8), seed=1)


def rates(count, **changed):
    options = EncoderConfig(**{"lr": 0.01, "warmup": 0.1, "schedule": "cosine", **changed})
    return [learning_rate(step, 100, options) for step in range(count)]


@pytest.mark.parametrize(
    ("schedule", "half_way", "last"),
    [("cosine", 0.005, 1e-5), ("linear", 0.005, 2e-4), ("constant", 0.01, 0.01)],
)
def test_the_learning_rate_warms_up_linearly_and_then_follows_the_schedule(
    schedule, half_way, last
):
    found = rates(100, schedule=schedule)

    assert found[:10] == pytest.approx([0.001 * n for n in range(1, 11)])
    assert found[10] == 0.01 and found[55] == pytest.approx(half_way)
    assert found[10:] == sorted(found[10:], reverse=True) and 0 < found[-1] <= last


def test_without_a_warm_up_the_first_rate_is_the_highest():
    assert rates(1, warmup=0.0) == [0.01]


def test_the_official_schedule_is_a_third_for_five_updates_then_the_full_rate():
    assert rates(7, schedule="official") == pytest.approx([0.01 / 3] * 5 + [0.01] * 2)


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_the_betas_reach_the_optimizer_and_its_updates(kind):
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    layer = nn.Linear(1, 1)
    optimizer = build(layer, kind, weight_decay=0.0)
    assert {tuple(group["betas"]) for group in optimizer.param_groups} == {(0.8, 0.9)}
    before, first, second = layer.weight.item(), 1.0, -2.0

    for gradient in (first, second):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()

    # Adam's own equations: after one update the bias-corrected moments are the gradient's
    mean = (0.8 * 0.2 * first + 0.2 * second) / (1 - 0.8**2)
    square = (0.9 * 0.1 * first**2 + 0.1 * second**2) / (1 - 0.9**2)
    expected = before - 0.01 * first / abs(first) - 0.01 * mean / square**0.5
    assert layer.weight.item() == pytest.approx(expected, abs=1e-6)


def test_only_matrices_decay(vision):
    decaying, others = build(vision, "adamw").param_groups

    assert decaying["weight_decay"] == 0.1 and others["weight_decay"] == 0
    assert all(weight.ndim > 1 for weight in decaying["params"])
    kept = {id(weight) for weight in others["params"]}
    named = dict(vision.named_parameters())
    for name in ("head.probe", "embeddings.position_embedding.weight", "post_layernorm.weight"):
        assert id(named[name]) in kept
    assert len(decaying["params"]) + len(others["params"]) == len(named)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimizer_keeps_the_moments_that_memory_is_planned_for(kind, vision):
    optimizer = build(vision, kind)
    for weight in vision.parameters():
        weight.grad = torch.ones_like(weight)

    optimizer.step()

    for weight, state in optimizer.state.items():
        moments = [value for value in state.values() if value.shape == weight.shape]
        assert sum(value.nbytes for value in moments) == MOMENT_BYTES[kind] * weight.numel()


def trained(kind, steps=20):
    """A linear layer of 8,256 weights, its weights before, and the optimizer that moved them."""
    torch.manual_seed(0)
    layer = nn.Linear(128, 64)
    optimizer = build(layer, kind)
    before = layer.weight.detach().clone()
    for _ in range(steps):
        optimizer.zero_grad()
        (layer.weight - 0.3).square().sum().add(layer.bias.square().sum()).backward()
        optimizer.step()
    return layer, before, optimizer


def test_8_bit_updates_are_close_to_32_bit_ones():
    pytest.importorskip("bitsandbytes")
    (exact, before, _), (rounded, _, optimizer) = (trained(k) for k in ("adamw", "adamw8bit"))

    change = (exact.weight - before).norm()
    assert (exact.weight - rounded.weight).norm() < 0.05 * change
    assert torch.allclose(exact.bias, rounded.bias, atol=1e-5)
    state = optimizer.state[rounded.weight]
    size = sum(t.nbytes for name, t in state.items() if name.startswith(("state", "absmax")))
    assert size == round(MOMENT_BYTES["adamw8bit"] * rounded.weight.numel())


def test_8_bit_adamw_decays_only_matrices():
    pytest.importorskip("bitsandbytes")
    groups = build(nn.Linear(2, 3), "adamw8bit").param_groups

    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [[w.ndim for w in group["params"]] for group in groups] == [[2], [1]]


def test_a_missing_package_is_reported_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)

    with pytest.raises(MegastyleError, match="adamw8bit needs the package 'bitsandbytes'") as error:
        build(nn.Linear(2, 3), "adamw8bit")

    assert "megastyle[quantize]" in error.value.hint
