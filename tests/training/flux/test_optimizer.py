"""AdamW in 32 and in 8 bits: nearly the same updates, and one sentence where the package lacks."""

import importlib.util

import pytest
import torch
from torch import nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.flux.optimizer import moment_bytes, optimizer_of


def updated(kind, steps=20):
    """A linear of 8,256 numbers, taken by an optimiser towards a fixed one."""
    torch.manual_seed(0)
    layer = nn.Linear(128, 64)
    optimizer = optimizer_of(layer, kind, lr=0.01, weight_decay=0.1)
    before = layer.weight.detach().clone()
    for _ in range(steps):
        optimizer.zero_grad()
        (layer.weight - 0.3).square().sum().add(layer.bias.square().sum()).backward()
        optimizer.step()
    return layer, before, optimizer


def test_in_8_bits_the_updates_are_nearly_those_in_32():
    pytest.importorskip("bitsandbytes")
    (whole, before, _), (eighth, _, optimizer) = (updated(k) for k in ("adamw", "adamw8bit"))

    moved = (whole.weight - before).norm()
    assert (whole.weight - eighth.weight).norm() < 0.05 * moved
    assert torch.allclose(whole.bias, eighth.bias, atol=1e-5)
    kept = optimizer.state[eighth.weight]
    held = sum(t.nbytes for name, t in kept.items() if name.startswith(("state", "absmax")))
    assert held == moment_bytes([eighth.weight], "adamw8bit")


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
def test_only_matrices_decay(kind):
    if kind == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    groups = optimizer_of(nn.Linear(2, 3), kind, lr=1e-3, weight_decay=0.1).param_groups

    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [[w.ndim for w in group["params"]] for group in groups] == [[2], [1]]


def test_a_missing_package_is_one_sentence_with_what_to_install(monkeypatch):
    monkeypatch.setattr(
        "megastyle_cli.training.flux.optimizer.find_spec",
        lambda name: None if name == "bitsandbytes" else importlib.util.find_spec(name),
    )
    with pytest.raises(MegastyleError, match="adamw8bit needs the package 'bitsandbytes'") as error:
        optimizer_of(nn.Linear(2, 3), "adamw8bit", lr=1e-3, weight_decay=0.0)

    assert "megastyle[quantize]" in error.value.hint
