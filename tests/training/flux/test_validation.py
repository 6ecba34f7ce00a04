"""Validation and samples: the same pairs, levels, noise and guidance at every step."""

import json

import pytest
import torch

from megastyle_cli.training.flux.batch import first_pairs
from megastyle_cli.training.flux.pairs import pairs_of
from megastyle_cli.training.flux.validation import held_out_losses, paint_samples
from tests.conftest import draw
from tests.tiny_flux import TRANSFORMER
from tests.training.flux.test_trainer import SIDE, model, trainer_of

__all__ = ["model", "trainer_of"]  # fixtures

PX = 16 * SIDE


@pytest.fixture
def pairs(tmp_path):
    """Two styles of two pictures each."""
    records = []
    for style in range(2):
        for n in range(2):
            path = tmp_path / f"{style}-{n}.png"
            draw(10 * style + n, PX, PX).save(path)
            told = {"id": path.stem, "style_id": f"s{style}", "content": f"thing {'ab'[n]}"}
            records.append({**told, "file_name": str(path)})
    return pairs_of(records, label="style_id", holdout=0, split_key=None, seed=0).training


@pytest.fixture
def told():
    """What a trainer's transformer is told, call by call, from `listen` on."""

    class Told(list):
        def listen(self, trainer):
            self.clear()
            trainer.transformer.register_forward_pre_hook(
                lambda _, args, named: self.append(named), with_kwargs=True
            )
            return trainer

        def of(self, name):
            return torch.cat([named[name] for named in self])

    return Told()


def test_the_levels_of_validation_are_eight_and_stay(trainer_of, pairs, told):
    measured = held_out_losses(told.listen(trainer_of()), pairs)

    levels = [0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375]
    assert told.of("timestep").tolist() == levels * 4  # two pairs, with own and other reference
    assert {name for name in measured if name.startswith("loss_at")} == {
        *("loss_at_0.06", "loss_at_0.19", "loss_at_0.31", "loss_at_0.44"),
        *("loss_at_0.56", "loss_at_0.69", "loss_at_0.81", "loss_at_0.94"),
    }


def test_the_other_reference_is_that_of_the_next_pair(trainer_of, pairs, told):
    trainer = told.listen(trainer_of())
    own = [one.reference for one in first_pairs(pairs, 2, 0, PX)]
    first, second = trainer.encoders.latents(own)

    measured = held_out_losses(trainer, pairs)

    seen = told.of("hidden_states")[:, SIDE**2 :]
    for at, reference in enumerate((first, second, second, first)):
        for tokens in seen[8 * at : 8 * at + 8]:
            assert torch.equal(tokens, reference)
    assert not torch.equal(first, second)
    gain = measured["loss_other_reference"] - measured["loss"]
    assert gain and measured["reference_gain"] == pytest.approx(gain, abs=2e-6)


def test_samples_begin_with_the_same_noise_at_every_step(trainer_of, pairs, told, tmp_path):
    trainer = told.listen(trainer_of(samples=2))
    painted = []
    for step in (3, 700):
        trainer.at = step
        told.clear()
        paint_samples(trainer, pairs, lambda *_: None)
        noise = told.of("hidden_states")[:: len(told) // 2, : SIDE**2]
        folder = tmp_path / "samples" / f"step-{step:08}"
        painted.append((noise, [(folder / f"{k}.png").read_bytes() for k in range(2)]))

    (before, pictures), (after, later) = painted
    assert torch.equal(before, after) and pictures == later
    assert not torch.equal(before[0], before[1])


@pytest.mark.parametrize(("is_own", "guidance"), [(False, 3.5), (True, 2.0)])
def test_samples_are_guided_as_pictures_are_and_a_model_of_its_own_as_it_learned(
    trainer_of, pairs, told, tmp_path, is_own, guidance
):
    (tmp_path / "size.json").write_text(json.dumps(TRANSFORMER))
    own = {"init": str(tmp_path / "size.json"), "rank": None} if is_own else {}
    trainer = told.listen(trainer_of(samples=1, guidance=2.0, **own))

    paint_samples(trainer, pairs, lambda *_: None)

    assert told.of("guidance").tolist() == [guidance] * 30
