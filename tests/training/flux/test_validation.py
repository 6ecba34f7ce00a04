"""Validation and samples use the same pairs, levels, noise and guidance at every step."""

import json

import pytest
import torch

from megastyle_cli.training.flux.batch import fixed_pairs
from megastyle_cli.training.flux.validation import held_out_losses, paint_samples
from tests.tiny_flux import TRANSFORMER
from tests.training.flux.test_trainer import PX, SIDE, data, model, trainer_of

__all__ = ["data", "model", "trainer_of"]  # fixtures


@pytest.fixture
def pairs(data):
    return data.split.training


class Inputs(list):
    """The inputs of a trainer's transformer, call by call."""

    def __init__(self, trainer):
        super().__init__()
        trainer.transformer.register_forward_pre_hook(
            lambda _, args, named: self.append(named), with_kwargs=True
        )

    def of(self, name):
        return torch.cat([named[name] for named in self])


def test_validation_uses_eight_fixed_levels(trainer_of, pairs):
    trainer = trainer_of()
    inputs = Inputs(trainer)

    losses = held_out_losses(trainer, pairs)

    levels = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    assert inputs.of("timestep").tolist() == levels * 4  # two pairs, own and other reference
    assert {name for name in losses if name.startswith("loss_at")} == {
        *("loss_at_0.06", "loss_at_0.19", "loss_at_0.31", "loss_at_0.44"),
        *("loss_at_0.56", "loss_at_0.69", "loss_at_0.81", "loss_at_0.94"),
    }


def test_the_other_reference_is_that_of_the_next_pair(trainer_of, pairs):
    trainer = trainer_of()
    inputs = Inputs(trainer)
    own = [pair.reference for pair in fixed_pairs(pairs, 2, 0, PX)]
    first, second = trainer.encoders.latents(own)

    losses = held_out_losses(trainer, pairs)

    seen = inputs.of("hidden_states")[:, SIDE**2 :]
    for index, reference in enumerate((first, second, second, first)):
        for tokens in seen[8 * index : 8 * index + 8]:
            assert torch.equal(tokens, reference)
    assert not torch.equal(first, second)
    gain = losses["loss_other_reference"] - losses["loss"]
    assert gain and losses["reference_gain"] == pytest.approx(gain, abs=2e-6)


def test_samples_start_from_the_same_noise_at_every_step(trainer_of, pairs, tmp_path):
    trainer = trainer_of(samples=2)
    inputs = Inputs(trainer)
    painted = []
    for step in (3, 700):
        trainer.step = step
        inputs.clear()
        paint_samples(trainer, pairs)
        noise = inputs.of("hidden_states")[:: len(inputs) // 2, : SIDE**2]
        folder = tmp_path / "samples" / f"step-{step:08}"
        painted.append((noise, [(folder / f"{k}.png").read_bytes() for k in range(2)]))

    (before, images), (after, later) = painted
    assert torch.equal(before, after) and images == later
    assert not torch.equal(before[0], before[1])


@pytest.mark.parametrize(("is_new", "guidance"), [(False, 3.5), (True, 2.0)])
def test_samples_use_inference_guidance_or_that_of_a_model_trained_from_scratch(
    trainer_of, pairs, tmp_path, is_new, guidance
):
    (tmp_path / "size.json").write_text(json.dumps(TRANSFORMER))
    new = {"init": str(tmp_path / "size.json"), "rank": None} if is_new else {}
    trainer = trainer_of(samples=1, guidance=2.0, **new)
    inputs = Inputs(trainer)

    paint_samples(trainer, pairs)

    assert inputs.of("guidance").tolist() == [guidance] * 30
