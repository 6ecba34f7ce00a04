"""The optimiser: what decays, what it is, and the learning rate of every step."""

from types import SimpleNamespace

import pytest
import torch
from transformers import SiglipVisionConfig

from megastyle_cli.models.encoders.siglip_vision import new_tower
from megastyle_cli.training.encoder.optimizer import MOMENTS, learning_rate, optimizer_of

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}


def settings(**changed):
    told = {"optimizer": "adamw", "schedule": "cosine", "steps": 100, "lr": 0.01, "warmup": 0.1}
    return SimpleNamespace(**{**told, "weight_decay": 0.1, **changed})


@pytest.fixture
def vision():
    return new_tower(SiglipVisionConfig(**SIZE, num_attention_heads=2, patch_size=8), seed=1)


@pytest.mark.parametrize(
    ("schedule", "half_way", "last"),
    [("cosine", 0.005, 1e-5), ("linear", 0.005, 2e-4), ("constant", 0.01, 0.01)],
)
def test_the_learning_rate_rises_straight_and_then_goes_as_scheduled(schedule, half_way, last):
    rates = [learning_rate(step, settings(schedule=schedule)) for step in range(100)]

    assert rates[:10] == pytest.approx([0.001 * n for n in range(1, 11)])
    assert rates[10] == 0.01 and rates[55] == pytest.approx(half_way)
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0 < rates[-1] <= last


def test_without_a_warm_up_the_first_rate_is_the_highest():
    assert learning_rate(0, settings(warmup=0.0)) == 0.01


def test_the_official_schedule_is_a_third_for_five_updates_then_the_whole():
    rates = [learning_rate(step, settings(schedule="official")) for step in range(7)]

    assert rates == pytest.approx([0.01 / 3] * 5 + [0.01] * 2)


def test_only_matrices_decay(vision):
    decaying, others = optimizer_of(vision, settings()).param_groups

    assert decaying["weight_decay"] == 0.1 and others["weight_decay"] == 0
    assert all(weight.ndim > 1 for weight in decaying["params"])
    kept = {id(weight) for weight in others["params"]}
    named = dict(vision.named_parameters())
    for name in ("head.probe", "embeddings.position_embedding.weight", "post_layernorm.weight"):
        assert id(named[name]) in kept
    assert len(decaying["params"]) + len(others["params"]) == len(named)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_an_optimiser_keeps_as_many_moments_as_memory_is_planned_for(name, vision):
    optimizer = optimizer_of(vision, settings(optimizer=name))
    for weight in vision.parameters():
        weight.grad = torch.ones_like(weight)

    optimizer.step()

    for weight, state in optimizer.state.items():
        moments = [held for held in state.values() if held.shape == weight.shape]
        assert len(moments) == MOMENTS[name]
