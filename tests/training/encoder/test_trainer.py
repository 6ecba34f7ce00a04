"""The trainer: its learning rate, what decays, its average, and a step on a known batch."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.training.encoder.config import Layout, Settings
from megastyle_cli.training.encoder.data import Augmentation, Batch, Pictures
from megastyle_cli.training.encoder.trainer import Trainer

SIZE = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "image_size": 16}
PICTURES = Pictures(
    names=[f"{n}.png" for n in range(8)],
    ids=[f"p{n}" for n in range(8)],
    styles=np.arange(8) // 2,
    style_ids=["a", "b", "c", "d"],
    prompts=["teal ink", "ochre oil", "grey pencil", "plum chalk"],
)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "size.json").write_text(
        json.dumps({**SIZE, "num_attention_heads": 2, "patch_size": 8})
    )

    def with_(**changed):
        layout = {
            "chunk": 3,
            "recompute": 0,
            "compile": False,
            "checkpoint_every": 1,
            "validate_every": 1,
            "export_dtype": "float16",
        }
        layout |= {name: changed.pop(name) for name in layout.keys() & changed.keys()}
        told = {
            "init": str(tmp_path / "size.json"),
            "steps": 100,
            "groups": 4,
            "k": 2,
            "optimizer": "adamw",
            "schedule": "cosine",
            "lr": 0.01,
            "warmup": 0.1,
            "weight_decay": 0.1,
            "clip": 0.0,
            "temperature": 0.1,
            "text_weight": 1.0,
            "augmentation": Augmentation(flip=False, crop_area=1),
            "ema": 0.0,
            "seed": 0,
            "dtype": "float32",
            "layout": Layout(**layout),
        }
        return Settings(**{**told, **changed})

    return with_


@pytest.fixture
def trainer_of(tmp_path):
    yield lambda settings: Trainer(settings, PICTURES, Accelerator(cpu=True), tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)


def batch():
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.manual_seed(1))
    return Batch(pixels.to(torch.uint8), np.arange(8))


def test_steps_on_one_batch_lower_both_losses(settings, trainer_of):
    trainer = trainer_of(settings())

    told = [trainer.step(batch()) for _ in range(30)]

    assert told[-1]["style_loss"] < 0.5 * told[0]["style_loss"]
    assert told[-1]["text_loss"] < told[0]["text_loss"]
    for facts in told:
        assert facts["loss"] == pytest.approx(facts["style_loss"] + facts["text_loss"])
        assert facts["without_positive"] == 0 and facts["gradient_norm"] > 0


def test_the_weight_of_the_text_term_is_in_loss_and_gradient(settings, trainer_of):
    alone, with_text = trainer_of(settings(text_weight=0.0)), trainer_of(settings(text_weight=2.0))

    bare, both = alone.step(batch()), with_text.step(batch())

    assert "text_loss" not in bare and both["style_loss"] == bare["style_loss"]
    assert both["loss"] == pytest.approx(both["style_loss"] + 2 * both["text_loss"])
    assert both["gradient_norm"] != pytest.approx(bare["gradient_norm"], rel=0.01)


def test_the_average_follows_the_weights(settings, trainer_of):
    trainer = trainer_of(settings(ema=0.75))
    before = {name: w.clone() for name, w in trainer.vision.state_dict().items()}

    trainer.step(batch())

    for name, average in trainer.ema.state_dict().items():
        now = trainer.vision.state_dict()[name]
        assert torch.allclose(average, 0.75 * before[name] + 0.25 * now, atol=1e-6)


def test_a_rehearsal_of_the_memory_changes_nothing(settings, trainer_of):
    trainer, other = trainer_of(settings()), trainer_of(settings())
    trainer.plan = replace(trainer.plan, free=1)  # as if next to nothing were free
    before = torch.random.get_rng_state()

    trainer.settle_chunk()

    assert trainer.chunk == 3 and torch.equal(torch.random.get_rng_state(), before)
    assert trainer.step(batch()) == other.step(batch())


def test_layers_computed_twice_are_every_nth(settings, trainer_of, tmp_path):
    told = json.loads((tmp_path / "size.json").read_text())
    (tmp_path / "size.json").write_text(json.dumps({**told, "num_hidden_layers": 5}))

    for every, numbers in ((0, []), (1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4])):
        trainer = trainer_of(settings(recompute=every))
        layers = trainer.vision.encoder.layers
        passes = [0] * 5
        for number, layer in enumerate(layers):
            layer.layer_norm1.register_forward_hook(partial(count, passes, number))
        trainer.step(batch())

        # three chunks, each embedded without a graph and with one, and once more where not kept
        assert passes == [9 if n in numbers else 6 for n in range(5)]
        assert trainer.plan.num_twice == len(numbers)


def count(passes, number, *_):
    passes[number] += 1


def test_a_restored_trainer_takes_the_same_step(settings, trainer_of, tmp_path):
    trainer = trainer_of(settings(ema=0.9))
    trainer.step(batch())
    (tmp_path / "checkpoints").mkdir()
    trainer.save()
    expected = trainer.step(batch())

    other = trainer_of(settings(ema=0.9))
    other.restore()
    found = other.step(batch())

    assert other.at == 2 and found == expected
    for one, two in ((other.vision, trainer.vision), (other.ema, trainer.ema)):
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("chunk", [8, 3])
def test_a_loss_that_is_no_number_ends_it_before_the_weights_change(
    settings, trainer_of, tmp_path, chunk
):
    trainer = trainer_of(settings(chunk=chunk))
    with torch.no_grad():
        trainer.vision.head.probe.fill_(math.nan)
    bias = trainer.vision.post_layernorm.bias.clone()

    with pytest.raises(MegastyleError, match="the loss is nan at step 0") as error:
        trainer.step(batch())

    assert error.value.exit_code == 1
    told = json.loads((tmp_path / "stopped-at-00000000.json").read_text())
    assert told == {"step": 0, "loss": "nan", "ids": PICTURES.ids}
    assert torch.equal(trainer.vision.post_layernorm.bias, bias)


@pytest.mark.parametrize("part", ["vision", "ema"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_make_no_checkpoint(
    settings, trainer_of, tmp_path, part, value
):
    trainer = trainer_of(settings(ema=0.9))
    trainer.step(batch())
    (tmp_path / "checkpoints").mkdir()
    trainer.save()
    trainer.step(batch())
    with torch.no_grad():
        getattr(trainer, part).head.probe[0, 0, 3] = value

    with pytest.raises(MegastyleError, match="the weights after step 2 are not finite") as error:
        trainer.save()

    assert error.value.exit_code == 1 and "--resume --force" in error.value.hint
    trainer.restore()
    assert trainer.at == 1 and math.isfinite(trainer.step(batch())["loss"])
